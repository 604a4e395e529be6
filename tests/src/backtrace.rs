//! Stacks of threads: as a report has them, and as the debugger has them.

use crate::report::{number, results};
use crate::session::Session;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// A function on a stack. What is not known is empty, or 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    pub pc: u64,
    /// Whether it is inlined into the next one.
    pub inlined: bool,
    pub function: String,
    /// The module's file, without its folders.
    pub module: String,
    pub file: String,
    pub line: u64,
    /// All names of the symbols that begin where the function does, without their versions; of the debugger only.
    pub aliases: Vec<String>,
    /// Whether the debugger says that it is a stub of the procedure linkage table.
    pub is_stub: bool,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inlined = if self.inlined { " (inlined)" } else { "" };
        let Self { pc, function, module, file, line, .. } = self;
        write!(f, "{pc:#x} {function}{inlined} of {module} at {file}:{line}")
    }
}

/// The stacks of threads by the system's ids of these.
pub type Stacks = BTreeMap<u64, Vec<Call>>;

/// The calls of a row of a report, the innermost first.
#[track_caller]
pub fn calls(row: &Value) -> Vec<Call> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let call = |frame: &Value| Call {
        pc: number(&frame["address"]),
        inlined: frame["inlined"] == true,
        function: text(&frame["function"]),
        module: text(&frame["module"]).rsplit('/').next().unwrap_or_default().to_owned(),
        file: text(&frame["file"]),
        line: frame["line"].as_u64().unwrap_or_default(),
        ..Call::default()
    };
    row["frames"].as_array().unwrap_or_else(|| panic!("{row} has frames")).iter().map(call).collect()
}

/// What a report says.
#[track_caller]
pub fn reported(report: &Value) -> Stacks {
    let rows = results(report).iter();
    let threads =
        rows.flat_map(|row| row["tids"].as_array().expect("a row has threads").iter().map(move |id| (id, row)));
    threads.map(|(id, row)| (id.as_u64().expect("a number"), calls(row))).collect()
}

/// What the debugger says. A frame that it has made up for a tail call is not on the stack.
pub fn debuggers(session: &mut Session) -> Stacks {
    let answer = session.python(
        r"
names, places, calls = {}, {}, []
def aliases(frame):
    symbol, module = frame.GetSymbol(), frame.GetModule()
    if not symbol.IsValid():
        return []
    path = str(module.GetFileSpec())
    if path not in names:
        names[path] = {}
        for known in module:
            start = known.GetStartAddress().GetFileAddress()
            names[path].setdefault(start, set()).add((known.GetName() or '').split('@')[0])
    return sorted(names[path].get(symbol.GetStartAddress().GetFileAddress(), ()))
def call(frame):
    place, file = frame.GetLineEntry(), frame.GetLineEntry().GetFileSpec()
    path = (file.GetDirectory() + '/' if file.GetDirectory() else '') + (file.GetFilename() or '')
    name, module = frame.GetFunctionName() or '', frame.GetModule().GetFileSpec().GetFilename() or ''
    line = place.GetLine() if file.IsValid() else 0
    key = (frame.GetPC(), frame.IsInlined(), name, module, path if file.IsValid() else '', line)
    if key not in places:
        places[key] = len(calls)
        is_stub = frame.GetSymbol().GetType() == lldb.eSymbolTypeTrampoline
        calls.append(key + (aliases(frame), is_stub))
    return places[key]
answer = {'threads': {str(thread.GetThreadID()): [call(frame) for frame in thread if not frame.IsArtificial()]
                      for thread in process}, 'calls': calls}
",
    );
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let call = |call: &Value| Call {
        pc: call[0].as_u64().expect("an address"),
        inlined: call[1] == true,
        function: text(&call[2]),
        module: text(&call[3]),
        file: text(&call[4]),
        line: call[5].as_u64().unwrap_or_default(),
        aliases: call[6].as_array().expect("names").iter().map(text).collect(),
        is_stub: call[7] == true,
    };
    let calls: Vec<Call> = answer["calls"].as_array().expect("calls").iter().map(call).collect();
    let stack = |places: &Value| {
        let places = places.as_array().expect("places").iter();
        places.map(|place| calls[place.as_u64().expect("a number") as usize].clone()).collect()
    };
    let threads = answer["threads"].as_object().expect("threads").iter();
    threads.map(|(id, places)| (id.parse().expect("an id"), stack(places))).collect()
}

/// The frames of a stack: each the functions that are inlined there, and the one that they are inlined into, the last.
pub fn frames(calls: &[Call]) -> Vec<&[Call]> {
    calls.split_inclusive(|call| !call.inlined).collect()
}

/// Where the frames of a stack are. Of a function into which others are inlined, LLDB says that it is where the inlined code
/// begins; that it is where the innermost of them is, its registers say.
pub fn pcs(calls: &[Call]) -> Vec<u64> {
    frames(calls).iter().map(|frame| frame[0].pc).collect()
}

/// The names of the functions.
pub fn functions(calls: &[Call]) -> Vec<&str> {
    calls.iter().map(|call| &*call.function).collect()
}

/// A line for each call, for the message of a failed test.
pub fn shown(calls: &[Call]) -> String {
    calls.iter().map(|call| format!("  {call}\n")).collect()
}
