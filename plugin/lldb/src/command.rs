//! Commands: C++ objects that LLDB calls and owns.

use crate::{CommandReturn, Debugger, Error, Host, text};
use lldb_sys as sys;
use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// What runs when a command is typed. LLDB may call it from several threads, one for each debugger.
pub trait Handler: Send + Sync + 'static {
    /// Runs the command. `arguments` are split and unquoted by LLDB; the command's own name is not among them.
    fn execute(&self, debugger: &Debugger, arguments: Vec<String>, result: &mut CommandReturn);
}

/// What `help` says of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Help {
    /// One line, for the list of commands.
    pub short: String,
    /// How it is written.
    pub syntax: String,
    /// What follows the two.
    pub long: String,
}

/// A command that only has subcommands, such as `mp-scan`.
#[derive(Debug)]
pub struct CommandGroup {
    /// Never disposed of: an SBCommand holds its command by a `std::shared_ptr` that is released inline, so in *our*
    /// C++ library's way, and a host with another one (CodeLLDB's has libc++) counts in other words of memory. It keeps
    /// a few hundred bytes for each debugger.
    reference: sys::SBCommandRef,
}

impl Debugger {
    /// Adds a group of commands, or takes the place of one with that name that a plugin has added before.
    ///
    /// # Errors
    /// If LLDB has a command of its own with that name.
    pub fn add_command_group(&self, name: &str, help: &str) -> Result<CommandGroup, Error> {
        let interpreter = self.command_interpreter();
        let (c_name, help) = (text::c_string(name), text::c_string(help));
        // SAFETY: the interpreter is valid; LLDB copies both texts.
        let reference = unsafe {
            sys::SBCommandInterpreterAddMultiwordCommand(interpreter.reference(), c_name.as_ptr(), help.as_ptr())
        };
        // SAFETY: it is a valid SBCommand, if maybe an empty one.
        if unsafe { sys::SBCommandIsValid(reference) } {
            Ok(CommandGroup { reference })
        } else {
            Err(Error::new(format!("LLDB refuses to add a command named '{name}'")))
        }
    }
}

impl CommandGroup {
    /// Adds a command to the group.
    ///
    /// # Errors
    /// If the group has one of that name already.
    pub fn add(&self, name: &str, help: &Help, handler: Box<dyn Handler>) -> Result<(), Error> {
        let [c_name, short, syntax, long] = [name, &help.short, &help.syntax, &help.long].map(text::c_string);
        let object = Object::allocate(handler);
        // SAFETY: the group is valid, LLDB copies all texts and takes ownership of the object, also where it refuses it.
        // The SBCommand that comes back is never disposed of, as the group's.
        let valid = unsafe {
            if let Some(add_command) = Host::current().optional().add_command {
                let mut command = [0; 2];
                add_command(&raw mut command, self.reference, c_name.as_ptr(), object, short.as_ptr(), syntax.as_ptr());
                describe((&raw mut command).cast(), &long)
            } else {
                let command = sys::SBCommandAddCommand(self.reference, c_name.as_ptr(), object, short.as_ptr());
                describe(command, &long)
            }
        };
        if valid { Ok(()) } else { Err(Error::new(format!("LLDB refuses to add the command '{name}'"))) }
    }
}

/// Sets what `help` says at length, and returns whether there is such a command.
///
/// # Safety
/// `command` is an SBCommand.
unsafe fn describe(command: sys::SBCommandRef, long: &std::ffi::CStr) -> bool {
    // SAFETY: the caller vouches for it; LLDB copies the text.
    unsafe {
        let valid = sys::SBCommandIsValid(command);
        if valid {
            sys::SBCommandSetHelpLong(command, long.as_ptr());
        }
        valid
    }
}

/// An instance of a C++ class derived from `lldb::SBCommandPluginInterface`, which has a virtual destructor and
/// `virtual bool DoExecute(SBDebugger, char **, SBCommandReturnObject &)`, laid out as the Itanium C++ ABI has it.
#[repr(C)]
struct Object {
    /// Points behind the table's first two words, as in C++.
    table: *const Functions,
    handler: Box<dyn Handler>,
}

/// The virtual table of [`Object`], with the two words that lie before it.
#[repr(C)]
struct Table {
    /// From the base class to the whole object.
    offset: isize,
    type_info: *const c_void,
    functions: Functions,
}

#[repr(C)]
struct Functions {
    destroy: unsafe extern "C" fn(*mut Object),
    delete: unsafe extern "C" fn(*mut Object),
    execute:
        unsafe extern "C" fn(*mut Object, sys::SBDebuggerRef, *mut *mut c_char, sys::SBCommandReturnObjectRef) -> bool,
}

// SAFETY: it never changes, and the null pointer in it is never followed: LLDB is built without RTTI.
unsafe impl Sync for Table {}

static TABLE: Table =
    Table { offset: 0, type_info: std::ptr::null(), functions: Functions { destroy, delete, execute } };

impl Object {
    /// An object that whoever gets it is to delete.
    fn allocate(handler: Box<dyn Handler>) -> sys::SBCommandPluginInterfaceRef {
        Box::into_raw(Box::new(Self { table: &raw const TABLE.functions, handler })).cast()
    }
}

/// The destructor for objects that are part of another, of which there are none.
unsafe extern "C" fn destroy(_: *mut Object) {}

/// The destructor that `delete` calls.
unsafe extern "C" fn delete(object: *mut Object) {
    // SAFETY: LLDB deletes what it was given by `Object::allocate`, once.
    let object = unsafe { Box::from_raw(object) };
    let _ = guarded(|| drop(object));
}

unsafe extern "C" fn execute(
    object: *mut Object,
    debugger: sys::SBDebuggerRef,
    arguments: *mut *mut c_char,
    result: sys::SBCommandReturnObjectRef,
) -> bool {
    // SAFETY: LLDB calls this on an object of ours that it owns, and passes the address of its SBDebugger, an array of
    // texts that ends in null (or null), and its SBCommandReturnObject; all live until this returns.
    let (object, debugger, arguments, mut result) =
        unsafe { (&*object, Debugger::copy(debugger), copy_arguments(arguments), CommandReturn::borrow(result)) };
    // A command that says nothing else has succeeded, also one that has printed.
    result.set_succeeded();
    if let Err(reason) = guarded(|| object.handler.execute(&debugger, arguments, &mut result)) {
        result.set_error(&reason);
    }
    result.succeeded()
}

/// # Safety
/// `arguments` is null, or an array of valid texts that ends in null.
unsafe fn copy_arguments(arguments: *mut *mut c_char) -> Vec<String> {
    let mut copied = Vec::new();
    if arguments.is_null() {
        return copied;
    }
    // SAFETY: the array ends in null, and reading stops there.
    while let Some(argument) = unsafe { text::copy(*arguments.add(copied.len())) } {
        copied.push(argument);
    }
    copied
}

thread_local! {
    /// Where and why this thread has panicked within [`guarded`], and how deep it is in such calls.
    static PANIC: RefCell<(usize, String)> = const { RefCell::new((0, String::new())) };
}

/// Runs `body`; a panic in it becomes an error that says where, and goes no further.
pub fn guarded<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let caught = PANIC.with_borrow_mut(|(depth, text)| {
                // A panic that becomes the command's error is not to be printed as well.
                *text = info.to_string().replace('\n', " ");
                *depth > 0
            });
            if !caught {
                before(info);
            }
        }));
    });
    PANIC.with_borrow_mut(|(depth, _)| *depth += 1);
    let outcome = catch_unwind(AssertUnwindSafe(body));
    PANIC.with_borrow_mut(|(depth, text)| {
        *depth -= 1;
        outcome.map_err(|_| format!("internal error: {}", std::mem::take(text)))
    })
}
