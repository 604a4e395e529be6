//! Modules that the debugger does not list, because it has no file of theirs.

use crate::inspect::Inspected;
use std::collections::HashSet;
use target::modules::{Module, loaded_build_id};
use target::{Backing, Permissions};

/// Adds what is mapped of files that code is run from. Where there is no such file here, their call frame information may still be
/// in memory.
pub fn add(modules: &mut Vec<Module>, inspected: &Inspected) {
    let files = || {
        inspected.space.regions.iter().filter_map(|region| match &region.backing {
            Backing::File { path, offset, .. } => Some((region, path, *offset)),
            _ => None,
        })
    };
    let code = files().filter(|(region, ..)| region.permissions.contains(Permissions::EXECUTE));
    let mut unlisted: HashSet<&str> = code.map(|(_, path, _)| path.as_str()).collect();
    for module in &*modules {
        unlisted.remove(module.path.as_str());
    }
    let bases: HashSet<u64> = modules.iter().filter_map(|module| module.base).collect();
    for (region, path, offset) in files() {
        let base = region.range.start;
        if offset == 0 && !bases.contains(&base) && unlisted.remove(path.as_str()) {
            let build_id = loaded_build_id(&*inspected.memory, base);
            modules.push(Module { path: path.clone(), base: Some(base), build_id, image: None });
        }
    }
    modules.sort_by_key(|module| (module.base.is_none(), module.base));
}
