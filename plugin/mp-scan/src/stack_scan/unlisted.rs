//! Code that is in no module that the debugger lists, because it has no file of it.

use std::collections::HashSet;
use std::sync::Arc;
use target::modules::{Module, loaded_build_id, loaded_head};
use target::{AddressSpace, Backing, Permissions, ReadMemory};

/// The path of the file that is mapped at an address, or the kernel's name for what is.
pub fn file_at(space: &AddressSpace, address: u64) -> Option<Arc<str>> {
    match &space.region_at(address)?.backing {
        Backing::File { path, .. } => Some(path.as_str().into()),
        Backing::Special { name } => Some(name.as_str().into()),
        _ => None,
    }
}

/// Adds what is mapped of files that code is run from. Where there is no such file here, their call frame information may still be
/// in memory.
pub fn add(modules: &mut Vec<Module>, space: &AddressSpace, memory: &dyn ReadMemory) {
    let files = || {
        space.regions.iter().filter_map(|region| match &region.backing {
            Backing::File { path, offset, .. } => Some((region, path, *offset)),
            _ => None,
        })
    };
    let code = files().filter(|(region, ..)| region.permissions.contains(Permissions::EXECUTE));
    let mut unlisted: HashSet<&str> = code.map(|(_, path, _)| path.as_str()).collect();
    for module in &*modules {
        unlisted.remove(module.path.as_str());
        // The debugger may know it by another path, through a link.
        let mapped = |base: u64| files().find(|(region, ..)| region.range.contains(base));
        if let Some((_, path, _)) = module.base.and_then(mapped) {
            unlisted.remove(path.as_str());
        }
    }
    for (region, path, offset) in files() {
        if offset == 0 && unlisted.remove(path.as_str()) {
            let base = region.range.start;
            let build_id = loaded_build_id(memory, base);
            let head = loaded_head(memory, base);
            modules.push(Module { path: path.clone(), base: Some(base), build_id, head, image: None });
        }
    }
    modules.sort_by_key(|module| (module.base.is_none(), module.base));
}
