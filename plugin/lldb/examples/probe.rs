//! A plugin that shows what the wrappers say: `plugin load libprobe.so`, then `probe process`, `probe address main`, ….
//! The tests load it into the hosts that they have.

use lldb::address::{self, Context};
use lldb::{CommandReturn, Debugger, Frame, Handler, Help, Process, Progress, Relay, Target};
use std::sync::mpsc::{self, TryRecvError};
use std::time::{Duration, Instant};
use target::ReadMemory;

lldb::plugin!(register);

type Run = fn(&Debugger, &[String], &mut CommandReturn) -> Result<(), String>;

const COMMANDS: [(&str, Run); 14] = [
    ("debugger", debugger),
    ("target", target),
    ("process", process),
    ("regions", regions),
    ("threads", threads),
    ("modules", modules),
    ("symbols", symbols),
    ("sites", sites),
    ("address", address),
    ("read", read),
    ("relay", relay),
    ("progress", progress),
    ("wait", wait),
    ("panic", panic),
];

struct Probe(Run);

impl Handler for Probe {
    fn execute(&self, debugger: &Debugger, arguments: Vec<String>, result: &mut CommandReturn) {
        if let Err(reason) = (self.0)(debugger, &arguments, result) {
            result.set_error(&reason);
        }
    }
}

fn register(debugger: &Debugger) -> Result<(), lldb::Error> {
    let group = debugger.add_command_group("probe", "Show what the wrappers say.")?;
    for (name, run) in COMMANDS {
        let help = Help { short: format!("Probe {name}."), syntax: format!("probe {name}"), long: String::new() };
        group.add(name, &help, Box::new(Probe(run)))?;
    }
    Ok(())
}

fn selected(debugger: &Debugger) -> Result<Target, String> {
    debugger.selected_target().ok_or_else(|| "no target".to_owned())
}

fn running(debugger: &Debugger) -> Result<Process, String> {
    selected(debugger)?.process().ok_or_else(|| "no process".to_owned())
}

fn frame(debugger: &Debugger) -> Option<Frame> {
    running(debugger).ok()?.selected_thread()?.selected_frame()
}

fn debugger(debugger: &Debugger, _: &[String], result: &mut CommandReturn) -> Result<(), String> {
    result.append_line(&format!("active: {}", debugger.command_interpreter().is_active()));
    result.append_line(&format!("terminal: {}", debugger.is_terminal()));
    result.append_line(&format!("width: {}", debugger.terminal_width()));
    result.append_line(&format!("color: {}", debugger.use_color()));
    result.append_line(&format!("id: {}", debugger.id()));
    Ok(())
}

fn target(debugger: &Debugger, _: &[String], result: &mut CommandReturn) -> Result<(), String> {
    let target = selected(debugger)?;
    let executable = target.executable().unwrap_or_default();
    result.append_line(&format!("executable: {}", executable.display()));
    result.append_line(&format!("triple: {}", target.triple()));
    result.append_line(&format!("layout: {:?}", target.layout()));
    Ok(())
}

fn process(debugger: &Debugger, _: &[String], result: &mut CommandReturn) -> Result<(), String> {
    let process = running(debugger)?;
    result.append_line(&format!("id: {}", process.id()));
    result.append_line(&format!("state: {:?}", process.state()));
    result.append_line(&format!("plugin: {}", process.plugin_name()));
    result.append_line(&format!("stop: {}", process.stop_id()));
    result.append_line(&format!("unique: {}", process.unique_id()));
    result.append_line(&format!("core: {:?}", process.core_file()));
    Ok(())
}

fn regions(debugger: &Debugger, _: &[String], result: &mut CommandReturn) -> Result<(), String> {
    for region in running(debugger)?.regions() {
        let name = region.name().unwrap_or_default();
        result.append_line(&format!("{} {:?} {name}", region.range, region.permissions.bits()));
    }
    Ok(())
}

fn threads(debugger: &Debugger, _: &[String], result: &mut CommandReturn) -> Result<(), String> {
    let process = running(debugger)?;
    let selected = process.selected_thread().map(|thread| thread.index());
    for thread in process.threads() {
        let mark = if Some(thread.index()) == selected { "*" } else { " " };
        let sp = thread.stack_pointer().unwrap_or_default();
        let name = thread.name().unwrap_or_default();
        result.append_line(&format!("{mark}{} {} {sp:#x} {name}", thread.index(), thread.id()));
    }
    Ok(())
}

fn modules(debugger: &Debugger, _: &[String], result: &mut CommandReturn) -> Result<(), String> {
    let target = selected(debugger)?;
    for module in target.modules() {
        let path = module.path().unwrap_or_default();
        let load = module.load_address(&target);
        result.append_line(&format!("{} {load:x?} {}", path.display(), module.uuid().unwrap_or_default()));
    }
    Ok(())
}

fn symbols(debugger: &Debugger, names: &[String], result: &mut CommandReturn) -> Result<(), String> {
    let target = selected(debugger)?;
    for symbol in names.iter().flat_map(|name| target.symbols(name)) {
        let load = symbol.load_address;
        result.append_line(&format!("{} {} {:#x} {load:x?}", symbol.module, symbol.name, symbol.file_address));
    }
    Ok(())
}

fn sites(debugger: &Debugger, _: &[String], result: &mut CommandReturn) -> Result<(), String> {
    for site in selected(debugger)?.breakpoint_sites() {
        result.append_line(&format!("{site:#x}"));
    }
    Ok(())
}

fn address(debugger: &Debugger, texts: &[String], result: &mut CommandReturn) -> Result<(), String> {
    let target = selected(debugger)?;
    let frame = frame(debugger);
    let expression = texts.first().is_some_and(|text| text == "--expr");
    for text in texts.iter().skip(usize::from(expression)) {
        let context = Context { target: &target, frame: frame.as_ref(), module: None, expression };
        let address = address::resolve(&context, text).map_err(|error| error.to_string())?;
        result.append_line(&format!("{address:#x}"));
    }
    Ok(())
}

/// The address and the length that two arguments say.
fn extent(arguments: &[String]) -> Result<(u64, Vec<u8>), String> {
    let numbers: Option<Vec<u64>> = arguments.iter().map(|text| address::number(text)).collect();
    match numbers.as_deref() {
        Some(&[address, length]) => Ok((address, vec![0; usize::try_from(length).unwrap_or(0)])),
        _ => Err("an address and a length are needed".to_owned()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(debugger: &Debugger, arguments: &[String], result: &mut CommandReturn) -> Result<(), String> {
    let (address, mut buffer) = extent(arguments)?;
    let read = running(debugger)?.read_memory(address, &mut buffer).map_err(|error| error.to_string())?;
    result.append_line(&hex(&buffer[..read]));
    Ok(())
}

/// Reads on another thread, which has begun when this one comes to serve, as when one waits for a job.
fn relay(debugger: &Debugger, arguments: &[String], result: &mut CommandReturn) -> Result<(), String> {
    let (address, mut buffer) = extent(arguments)?;
    let relay = Relay::new(&running(debugger)?);
    let (sender, answer) = mpsc::channel();
    let reading = relay.clone();
    let reader = std::thread::spawn(move || {
        let outcome = reading.read(address, &mut buffer).map(|read| hex(&buffer[..read]));
        sender.send(outcome.map_err(|fault| fault.to_string()))
    });
    std::thread::sleep(Duration::from_millis(20));
    let server = relay.serve();
    let outcome = loop {
        server.run(Duration::from_millis(10));
        match answer.try_recv() {
            Ok(outcome) => break outcome,
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => break Err("the reader has ended".to_owned()),
        }
    };
    reader.join().map_err(|_| "the reader panicked")?.map_err(|error| error.to_string())?;
    result.append_line(&outcome?);
    Ok(())
}

/// Makes progress for two seconds: editors do not show what takes less than one. With `--background`, the command ends
/// before.
fn progress(debugger: &Debugger, arguments: &[String], result: &mut CommandReturn) -> Result<(), String> {
    let Some(mut progress) = Progress::begin(debugger, "Probing", "begin", 100) else {
        return Err("this LLDB has no progress".to_owned());
    };
    let mut advance = move || {
        for done in (5..=100).step_by(5) {
            std::thread::sleep(Duration::from_millis(100));
            progress.advance(done, &format!("at {done}"));
        }
    };
    if arguments.first().is_some_and(|argument| argument == "--background") {
        std::thread::spawn(advance);
    } else {
        advance();
    }
    result.append_line("progress");
    Ok(())
}

/// Waits until it is interrupted, or for 20 seconds.
fn wait(debugger: &Debugger, _: &[String], result: &mut CommandReturn) -> Result<(), String> {
    let interpreter = debugger.command_interpreter();
    let file = debugger.output_file();
    file.write("waiting\n").and_then(|()| file.flush()).map_err(|error| error.to_string())?;
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        if interpreter.was_interrupted() || debugger.interrupt_requested() {
            result.append_line("interrupted");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err("not interrupted".to_owned())
}

fn panic(_: &Debugger, _: &[String], _: &mut CommandReturn) -> Result<(), String> {
    panic!("on purpose");
}
