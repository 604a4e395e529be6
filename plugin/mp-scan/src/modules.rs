//! What a symbol command looks at: the modules of the debugger's target, whether it has a process or not.

use crate::cli::EXPRESSION;
use crate::inspect::{Inspected, inspect};
use crate::session::Session;
use analysis::files::is_named;
use analysis::{TargetInfo, TargetKind};
use anyhow::{Context as _, Result, bail};
use lldb::Target;
use lldb::address::{self, Meaning};
use std::path::PathBuf;
use target::modules::{Module, Search, loaded_build_id, loaded_head};
use target::{AddressSpace, ReadMemory};

/// The kernel's vdso is smaller than this, in bytes.
const LARGEST_IMAGE: u64 = 1 << 20;

/// The modules of a target.
#[derive(Debug)]
pub struct Modules {
    pub info: TargetInfo,
    /// In the order of their addresses, those that are not loaded last. Without a process the executable is the first, as a rule.
    pub modules: Vec<Module>,
    pub search: Search,
    /// What the user should know, a line each.
    pub warnings: Vec<String>,
    pub target: Target,
    /// The process, if there is one that can be read now.
    pub process: Option<Inspected>,
}

impl Modules {
    /// Those of the debugger's selected target.
    ///
    /// # Errors
    /// One line that says what is missing and what to do.
    pub fn of(session: &Session) -> Result<Self> {
        let modules = Self::known(session)?;
        if modules.modules.is_empty() {
            bail!("the target has no modules: open a program with `target create FILE`");
        }
        Ok(modules)
    }

    /// The same, if there are none as well: of a core file whose program is not here, the debugger knows none.
    ///
    /// # Errors
    /// If there is no target.
    pub fn known(session: &Session) -> Result<Self> {
        let Some(target) = session.debugger.selected_target() else {
            bail!(
                "no target: open a program with `target create FILE` or a core file with `target create --core FILE`, or attach"
            );
        };
        let executable = target.executable().map(|path| path.to_string_lossy().into_owned());
        let mut info = TargetInfo { executable, ..TargetInfo::default() };
        let mut warnings = Vec::new();
        let process = target.process().and_then(|process| match inspect(session.debugger) {
            Ok(inspected) => Some(inspected),
            Err(error) => {
                // Its modules are known all the same.
                info.pid = Some(process.id());
                warnings.push(format!("the process's memory is not looked at: {error:#}"));
                None
            }
        });
        if let Some(process) = &process {
            info = process.info.clone();
            warnings.extend(process.warnings.iter().cloned());
        }
        let modules = modules(&target, process.as_ref());
        let debug_folders = session.debugger.debug_file_folders().into_iter().map(PathBuf::from).collect();
        let pid = info.pid.filter(|_| info.kind == TargetKind::Live);
        Ok(Self { info, modules, search: Search { pid, debug_folders }, warnings, target, process })
    }

    /// The address that `text` means if it is no symbol, which is not looked for: a load address where there is a process, else a
    /// file address. `None` if it may only be a symbol.
    ///
    /// # Errors
    /// If it means something that is no address.
    pub fn address(&self, text: &str) -> Result<Option<u64>> {
        let (expression, text) = match text.strip_prefix(EXPRESSION) {
            Some(expression) => (true, expression),
            None => (false, text),
        };
        let frame = self.process.as_ref().and_then(|process| process.frame.as_ref());
        let context = address::Context { target: &self.target, frame, module: None, expression };
        Ok(match address::without_symbols(&context, text)? {
            Meaning::Address(address) => Some(address),
            Meaning::Unknown(_) => None,
        })
    }

    /// Leaves those that `name` names, by file name or path. Without a name, all.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn keep(&mut self, name: Option<&str>) -> Result<()> {
        let Some(name) = name else { return Ok(()) };
        self.named(name)?;
        self.modules.retain(|module| is_named(&module.path, name));
        Ok(())
    }

    /// The first of them that `name` names, by file name or path.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn named(&self, name: &str) -> Result<&Module> {
        let named = self.modules.iter().find(|module| is_named(&module.path, name));
        let count = self.modules.len();
        named.with_context(|| format!("no module '{name}' among the target's {count}: see `image list`"))
    }
}

fn modules(target: &Target, process: Option<&Inspected>) -> Vec<Module> {
    let module = |module: lldb::Module| {
        let path = module.path()?.to_string_lossy().into_owned();
        let base = module.load_address(target);
        let build_id = module.uuid().map(|uuid| bytes(&uuid)).unwrap_or_default();
        let mut found = Module { path, base, build_id, ..Module::default() };
        if let (Some(process), Some(base)) = (process, base) {
            look_at_loaded(&mut found, base, &process.space, &*process.memory);
            // Of a process the kernel knows which file it has.
            if process.info.kind != TargetKind::Live {
                found.head = loaded_head(&*process.memory, base);
            }
        }
        Some(found)
    };
    let mut modules: Vec<Module> = target.modules().into_iter().filter_map(module).collect();
    // Debuggers have them in the order in which they came to know them, which is not always the same.
    modules.sort_by_key(|module| (module.base.is_none(), module.base));
    modules
}

/// Adds what memory tells of a module: the file may be another by now, or there may be none.
fn look_at_loaded(module: &mut Module, base: u64, space: &AddressSpace, memory: &dyn ReadMemory) {
    let loaded = loaded_build_id(memory, base);
    if !loaded.is_empty() {
        module.build_id = loaded;
    }
    if !module.path.starts_with('[') {
        return;
    }
    let region = space.regions.iter().find(|region| region.range.contains(base));
    let Some(size) = region.map(|region| region.range.end - base).filter(|size| *size <= LARGEST_IMAGE) else { return };
    let mut image = vec![0; size as usize];
    let read = memory.read(base, &mut image).unwrap_or_default();
    image.truncate(read);
    module.image = Some(image);
}

/// The bytes of a build id as LLDB shows it: in hex with hyphens.
fn bytes(uuid: &str) -> Vec<u8> {
    let digits: Vec<u8> = uuid.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    digits.chunks_exact(2).filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_id_is_read_from_what_lldb_shows() {
        assert_eq!(bytes("AB12-00FF"), [0xab, 0x12, 0x00, 0xff]);
    }
}
