//! The LLDB that has loaded the plugin.
//!
//! A host may have opened its liblldb privately, so that the plugin's SB names would not be found when they are first
//! used, which ends the host. So the library that calls the plugin is found and reopened with its names visible, and
//! every name that the plugin has is looked up, before any SB call.

use crate::optional::Optional;
use libloading::os::unix::Library;
use object::{Object, ObjectSymbol};
use std::ffi::{CStr, OsString, c_int, c_void};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A name that every liblldb has, and that is seen in no other library.
const ANCHOR: &CStr = c"_ZN4lldb10SBDebuggerC1ERKS0_";

static HOST: OnceLock<Host> = OnceLock::new();

/// The host's liblldb: found once, and kept open as long as the process lives.
#[derive(Debug)]
pub struct Host {
    object: Loaded,
    plugin: PathBuf,
    build_id: Option<String>,
    optional: Optional,
}

/// Why the plugin cannot work in this host. Each is one line for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error("no LLDB found in this process")]
    NotFound,
    #[error("cannot open {path} again: {reason}", path = path.display())]
    Unopened { path: PathBuf, reason: String },
    #[error("{} lacks {}, which the plugin needs; LLDB 14 or newer has it", path.display(), names.join(", "))]
    Missing { path: PathBuf, names: Vec<String> },
    #[error("already in use by another LLDB in this process: {}, not {}", first.display(), second.display())]
    Another { first: PathBuf, second: PathBuf },
    #[error("cannot read the plugin's own file {}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
}

impl Host {
    /// The host, which the plugin's entry point has found.
    ///
    /// # Panics
    /// Before that. No wrapper can exist before.
    pub fn current() -> &'static Self {
        HOST.get().expect("the entry point finds the host before anything else")
    }

    /// Finds the LLDB that is calling, and makes its names visible to the plugin.
    pub(crate) fn resolve() -> Result<&'static Self, HostError> {
        let plugin = Loaded::holding(Self::resolve as *const c_void).ok_or(HostError::NotFound)?;
        let object = calling_lldb(&plugin).ok_or(HostError::NotFound)?;
        if let Some(host) = HOST.get() {
            return if host.object.base == object.base {
                Ok(host)
            } else {
                Err(HostError::Another { first: host.object.path.clone(), second: object.path })
            };
        }
        let library = object
            .open(libc::RTLD_GLOBAL)
            .map_err(|error| HostError::Unopened { path: object.path.clone(), reason: error.to_string() })?;
        let own = OwnFile::read(&plugin.path)?;
        let missing: Vec<String> = own.names.into_iter().filter(|name| find(&library, name).is_none()).collect();
        if !missing.is_empty() {
            let names = missing.iter().map(|name| demangled(name)).collect();
            return Err(HostError::Missing { path: object.path, names });
        }
        let optional = Optional::look_up(&library);
        // It stays open, so that it stays visible.
        let _ = library.into_raw();
        let host = Self { object, plugin: plugin.path, build_id: own.build_id, optional };
        Ok(HOST.get_or_init(|| host))
    }

    /// The file of the host's liblldb, as it was loaded.
    pub fn path(&self) -> &Path {
        &self.object.path
    }

    /// The plugin's own file.
    pub fn plugin_path(&self) -> &Path {
        &self.plugin
    }

    /// The plugin's GNU build id, in hex, if it was linked with one.
    pub fn build_id(&self) -> Option<&str> {
        self.build_id.as_deref()
    }

    /// Names that only some versions of LLDB have, and whether this one has them.
    pub fn optional_names(&self) -> impl Iterator<Item = (&'static str, bool)> {
        self.optional.present().into_iter()
    }

    pub(crate) fn optional(&self) -> &Optional {
        &self.optional
    }
}

/// A shared object, or the main program, in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Loaded {
    /// Its name as the loader knows it.
    path: PathBuf,
    /// Where it is mapped: what tells objects apart.
    base: usize,
}

impl Loaded {
    /// The object that `address` lies in.
    fn holding(address: *const c_void) -> Option<Self> {
        let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
        // SAFETY: dladdr takes any address, and fills the whole of `info` where it returns other than 0. The name that
        // it gives is the loader's own, which lives as long as the object is loaded.
        let (name, base) = unsafe {
            if libc::dladdr(address, info.as_mut_ptr()) == 0 {
                return None;
            }
            let info = info.assume_init();
            if info.dli_fname.is_null() {
                return None;
            }
            (CStr::from_ptr(info.dli_fname).to_bytes().to_vec(), info.dli_fbase as usize)
        };
        Some(Self { path: PathBuf::from(OsString::from_vec(name)), base })
    }

    /// Opens it once more, which loads nothing anew.
    fn open(&self, flags: c_int) -> Result<Library, libloading::Error> {
        // SAFETY: it is loaded already, and RTLD_NOLOAD keeps it at that: no initializer runs.
        let library = unsafe { Library::open(Some(&self.path), libc::RTLD_LAZY | libc::RTLD_NOLOAD | flags) };
        // The main program has no name that it can be opened by.
        library.or_else(|error| {
            let program = Library::this();
            let anchor = find(&program, &ANCHOR.to_string_lossy()).and_then(Self::holding);
            anchor.is_some_and(|object| object.base == self.base).then_some(program).ok_or(error)
        })
    }
}

/// The first LLDB among the objects that the call to the plugin came through, and if there is none, among all.
fn calling_lldb(plugin: &Loaded) -> Option<Loaded> {
    let callers = callers().into_iter().filter_map(Loaded::holding).filter(|object| object.base != plugin.base);
    callers.filter_map(|object| lldb_in(&object)).next().or_else(|| all_objects().iter().find_map(lldb_in))
}

/// The object itself, if it is an LLDB, or the LLDB that it is linked to.
fn lldb_in(object: &Loaded) -> Option<Loaded> {
    let library = object.open(0).ok()?;
    Loaded::holding(find(&library, &ANCHOR.to_string_lossy())?)
}

fn find(library: &Library, name: &str) -> Option<*const c_void> {
    // SAFETY: only the address is taken, as a plain pointer. Nothing is called or read through it.
    let symbol = unsafe { library.get::<*const c_void>(name.as_bytes()) }.ok()?;
    let address = symbol.as_raw_ptr().cast_const();
    (!address.is_null()).then_some(address)
}

/// The addresses that the functions now running return to, innermost first.
fn callers() -> Vec<*const c_void> {
    type Trace = extern "C" fn(*mut c_void, *mut c_void) -> c_int;
    unsafe extern "C" {
        // The two of the C++ ABI's unwinder that std itself is linked to.
        fn _Unwind_Backtrace(trace: Trace, argument: *mut c_void) -> c_int;
        fn _Unwind_GetIP(context: *mut c_void) -> usize;
    }
    extern "C" fn trace(context: *mut c_void, found: *mut c_void) -> c_int {
        // SAFETY: the unwinder passes its own context, and the vector that it was given below, which nobody else uses
        // meanwhile.
        unsafe {
            let found = &mut *found.cast::<Vec<*const c_void>>();
            found.push(_Unwind_GetIP(context) as *const c_void);
            // Any code but 0 ends the walk; the caller is near.
            if found.len() < 32 { 0 } else { 5 }
        }
    }
    let mut found: Vec<*const c_void> = Vec::new();
    // SAFETY: `trace` has the type that the unwinder calls, and cannot unwind; `found` outlives the call.
    unsafe { _Unwind_Backtrace(trace, (&raw mut found).cast()) };
    found
}

/// All objects in this process, in the order in which they were loaded.
fn all_objects() -> Vec<Loaded> {
    unsafe extern "C" fn each(info: *mut libc::dl_phdr_info, _: usize, found: *mut c_void) -> c_int {
        // SAFETY: the loader passes a valid description, and the vector that it was given below.
        unsafe {
            let headers = (*info).dlpi_phdr;
            let found = &mut *found.cast::<Vec<Loaded>>();
            // The program headers are mapped with the object, so they tell which one it is.
            found.extend(Loaded::holding(headers.cast()));
        }
        0
    }
    let mut found: Vec<Loaded> = Vec::new();
    // SAFETY: `each` has the type that the loader calls, and `found` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(each), (&raw mut found).cast()) };
    found
}

/// What the plugin's file says of itself.
struct OwnFile {
    /// The SB names that it is to be given by its host: all that it calls, so all that it cannot do without.
    names: Vec<String>,
    build_id: Option<String>,
}

impl OwnFile {
    fn read(path: &Path) -> Result<Self, HostError> {
        let unreadable = |reason: String| HostError::Unreadable { path: path.to_owned(), reason };
        let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
        let cache = object::ReadCache::new(file);
        let file = object::File::parse(&cache).map_err(|error| unreadable(error.to_string()))?;
        let undefined = file.dynamic_symbols().filter(ObjectSymbol::is_undefined);
        let names = undefined.filter_map(|symbol| symbol.name().ok().map(str::to_owned));
        let names = names.filter(|name| name.starts_with("_ZN4lldb") || name.starts_with("_ZNK4lldb")).collect();
        let build_id = file.build_id().ok().flatten();
        let build_id = build_id.map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect());
        Ok(Self { names, build_id })
    }
}

/// `lldb::SBDebugger::SBDebugger(lldb::SBDebugger const&)` for a mangled name.
fn demangled(name: &str) -> String {
    let symbol = cpp_demangle::Symbol::new(name).ok();
    symbol.and_then(|symbol| symbol.demangle().ok()).unwrap_or_else(|| name.to_owned())
}
