//! SBPlatform.

use crate::class::sb_class;
use crate::{Error, text};
use lldb_sys as sys;
use std::ffi::{CString, c_char};
use std::path::Path;
use std::ptr;

sb_class! {
    /// The machine that debuggees run on: this one, or one with an lldb-server that the debugger is connected to.
    Platform(SBPlatformRef, DisposeSBPlatform)
}

/// Who may do what with an installed program: its owner everything, all others read and run it.
const PROGRAM: u32 = 0o755;

impl Platform {
    /// Its plugin's name, such as `remote-linux` or `host`.
    pub fn name(&self) -> String {
        // SAFETY: the platform is ours, and the text is copied at once.
        unsafe { text::copy(sys::SBPlatformGetName(self.reference)) }.unwrap_or_default()
    }

    /// Whether it is another machine's, and there is a connection to it. LLDB calls its own machine connected, too.
    pub fn is_connected_remote(&self) -> bool {
        // SAFETY: the platform is ours.
        let connected = unsafe { sys::SBPlatformIsValid(self.reference) && sys::SBPlatformIsConnected(self.reference) };
        connected && self.name() != "host"
    }

    /// What that machine calls itself.
    pub fn host_name(&self) -> Option<String> {
        // SAFETY: the platform is ours, and the text is copied at once.
        unsafe { text::copy(sys::SBPlatformGetHostname(self.reference)) }.filter(|name| !name.is_empty())
    }

    /// `x86_64-unknown-linux-gnu`.
    pub fn triple(&self) -> String {
        // SAFETY: the platform is ours, and the text is copied at once.
        unsafe { text::copy(sys::SBPlatformGetTriple(self.reference)) }.unwrap_or_default()
    }

    /// The folder over there that files are put into.
    pub fn working_directory(&self) -> Option<String> {
        // SAFETY: the platform is ours, and the text is copied at once.
        unsafe { text::copy(sys::SBPlatformGetWorkingDirectory(self.reference)) }.filter(|path| !path.is_empty())
    }

    /// Copies a program of this machine to a path over there, where it can be run.
    ///
    /// # Errors
    /// What LLDB says of it.
    pub fn install_program(&self, from: &Path, to: &str) -> Result<(), Error> {
        let from = text::c_string(&from.to_string_lossy());
        let to = text::c_string(to);
        // SAFETY: the platform and both file specifications are ours, and so is the error that comes back. The texts live until
        // LLDB has copied them.
        unsafe {
            let source = sys::CreateSBFileSpec3(from.as_ptr(), false);
            let destination = sys::CreateSBFileSpec3(to.as_ptr(), false);
            let put = Error::take(sys::SBPlatformPut(self.reference, source, destination));
            sys::DisposeSBFileSpec(source);
            sys::DisposeSBFileSpec(destination);
            put?;
            Error::take(sys::SBPlatformSetFilePermissions(self.reference, to.as_ptr(), PROGRAM))
        }
    }

    /// Runs a program over there, without tracing it, with nothing for its input and output. Returns its process id there.
    /// `variables` are its environment's, beside what the machine's server gives it.
    ///
    /// # Errors
    /// What LLDB says of it.
    pub fn launch(&self, program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<u64, Error> {
        let arguments: Vec<CString> = arguments.iter().map(|argument| text::c_string(argument)).collect();
        let variables: Vec<CString> =
            variables.iter().map(|(name, value)| text::c_string(&format!("{name}={value}"))).collect();
        let program = text::c_string(program);
        let arguments = null_ended(&arguments);
        let variables = null_ended(&variables);
        // SAFETY: the platform is ours, and so are the launch information, the file specification and the error. The lists end in
        // null, and they and their texts live until LLDB has copied them.
        unsafe {
            let information = sys::CreateSBLaunchInfo(arguments.as_ptr());
            let file = sys::CreateSBFileSpec3(program.as_ptr(), false);
            sys::SBLaunchInfoSetExecutableFile(information, file, true);
            sys::SBLaunchInfoSetEnvironmentEntries(information, variables.as_ptr(), true);
            for descriptor in 0..3 {
                sys::SBLaunchInfoAddSuppressFileAction(information, descriptor, descriptor == 0, descriptor != 0);
            }
            let launched = Error::take(sys::SBPlatformLaunch(self.reference, information));
            let pid = sys::SBLaunchInfoGetProcessID(information);
            sys::DisposeSBFileSpec(file);
            sys::DisposeSBLaunchInfo(information);
            launched.map(|()| pid)
        }
    }

    /// Removes a file over there.
    ///
    /// # Errors
    /// What LLDB or the shell over there says of it.
    pub fn remove(&self, path: &str) -> Result<(), Error> {
        let command = text::c_string(&format!("rm -f -- '{}'", path.replace('\'', r"'\''")));
        // SAFETY: the platform, the command and the error are ours. LLDB copies the text.
        unsafe {
            let shell = sys::CreateSBPlatformShellCommand(command.as_ptr());
            let run = Error::take(sys::SBPlatformRun(self.reference, shell));
            let status = sys::SBPlatformShellCommandGetStatus(shell);
            sys::DisposeSBPlatformShellCommand(shell);
            run?;
            if status == 0 { Ok(()) } else { Err(Error::new(format!("rm exited with code {status}"))) }
        }
    }

    /// Ends a process over there.
    ///
    /// # Errors
    /// What LLDB says of it.
    pub fn kill(&self, pid: u64) -> Result<(), Error> {
        // SAFETY: the platform is ours, and so is the error that comes back.
        unsafe { Error::take(sys::SBPlatformKill(self.reference, pid)) }
    }
}

/// Pointers to the texts, and null after them.
fn null_ended(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}
