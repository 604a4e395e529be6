//! The plugin in every LLDB that we have.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use tests::{Dap, Debuggee, Product, Session, compile, gcore, host, probe, scratch};

/// The debuggers with a prompt, by the names of their programs.
const CONSOLES: [&str; 6] = ["lldb-22", "lldb-14", "lldb-16", "lldb-19", "lldb-23", "codelldb-lldb"];

/// Runs commands in a debugger, which ends with them or at the first that fails. Returns the output of each.
#[track_caller]
fn batch(mut lldb: Command, lines: &[&str]) -> Vec<String> {
    lldb.args(["--no-lldbinit", "--batch", "--no-use-colors"]);
    for line in lines {
        lldb.args(["-o", line]);
    }
    let folder = scratch();
    let output = lldb.current_dir(folder.path()).stdin(Stdio::null()).output().expect("the debugger runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut answers = Vec::new();
    let mut rest = &*printed;
    for line in lines {
        let echo = format!("(lldb) {line}\n");
        let at = rest
            .find(&echo)
            .unwrap_or_else(|| panic!("'{line}' was not run: {printed}\n{}", String::from_utf8_lossy(&output.stderr)));
        answers.push(rest[..at].to_owned());
        rest = &rest[at + echo.len()..];
    }
    answers.push(rest.to_owned());
    // What comes before the first command is no command's.
    answers.split_off(1)
}

/// The value of a line `name: value`, or `name   value`.
#[track_caller]
fn field<'a>(output: &'a str, name: &str) -> &'a str {
    let value = output.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.strip_prefix(": ").or_else(|| rest.strip_prefix("  ").map(str::trim_start))
    });
    value.unwrap_or_else(|| panic!("no '{name}' in: {output}"))
}

/// The version in a host's own words.
fn version_of(mut lldb: Command) -> String {
    let output = lldb.arg("--version").output().expect("the debugger runs");
    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn loads_into_each_twice_and_answers() {
    let load = Product::built().load();
    for name in CONSOLES {
        let Some(lldb) = host(name) else { continue };
        let answers = batch(lldb, &[&load, "mp-scan version", &load, "mp-scan version"]);
        assert_eq!([&*answers[0], &*answers[2]], ["", ""], "{name} printed as the plugin was loaded");
        for answer in [&answers[1], &answers[3]] {
            assert_eq!(field(answer, "host"), version_of(host(name).expect("it was there")), "{name}");
            assert!(Path::new(field(answer, "host file")).is_file(), "{name}: {answer}");
        }
    }
}

#[test]
fn help_is_the_same_in_both_ways() {
    let load = Product::built().load();
    for name in ["lldb-22", "lldb-14", "codelldb-lldb"] {
        let (Some(lldb), Some(again)) = (host(name), host(name)) else { continue };
        let overview = batch(lldb, &[&load, "help mp-scan"]).swap_remove(1);
        let commands: Vec<&str> = overview
            .lines()
            .filter_map(|line| Some(line.split_once(" -- ")?.0.trim()))
            .filter(|name| !name.is_empty())
            .collect();
        assert!(commands.contains(&"find") && commands.contains(&"version"), "{name}: {overview}");
        let helps = commands.iter().flat_map(|name| [format!("help mp-scan {name}"), format!("mp-scan {name} --help")]);
        let lines: Vec<String> = std::iter::once(load.clone()).chain(helps).collect();
        let answers = batch(again, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        for (command, pair) in commands.iter().zip(answers[1..].chunks(2)) {
            assert_eq!(pair[0], pair[1], "{name}: the two helps of {command} differ");
            assert!(pair[0].contains(&format!("Syntax: mp-scan {command}")), "{name}: {}", pair[0]);
        }
    }
}

#[test]
fn finds_in_each() {
    let program = compile("places.c");
    for name in CONSOLES {
        let Some(lldb) = host(name) else { continue };
        let answers = batch(
            lldb,
            &[
                &Product::built().load(),
                &format!("target create {}", program.display()),
                "breakpoint set --name reached",
                "process launch --stdin /dev/null --stdout /dev/null",
                "mp-scan find --int 0x2222222222222222:8 --in executable --in module:places",
                "mp-scan find --pointer &second --in module:places --format json",
            ],
        );
        let lines: Vec<&str> = answers[4].lines().collect();
        assert_eq!(lines.len(), 2, "{name}: {}", answers[4]);
        assert!(lines[0].contains("table+0x8") && lines[1].starts_with("1 match; "), "{name}: {}", answers[4]);
        let report: Value = serde_json::from_str(&answers[5]).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!([&report["total"], &report["target"]["kind"]], [&json!(1), &json!("live")], "{name}: {report}");
        let result = &report["results"][0];
        assert_eq!([&result["symbol"], &result["offset"]], [&json!("first"), &json!(8)], "{name}: {report}");
    }
}

#[test]
fn loading_starts_nothing_and_prints_nothing() {
    let mut session = Session::without_plugin([] as [(&str, &str); 0]);
    let count = "import os; answer = [len(os.listdir('/proc/self/task')), \
                 open('/proc/self/task/%d/children' % os.getpid()).read()]";
    let before = (session.python(count), session.screen());
    let answer = session.run(&Product::built().load());
    assert!(answer.ok && answer.output.is_empty() && answer.error.is_empty(), "{answer:?}");
    assert_eq!((session.python(count), session.screen()), before);
}

#[test]
fn two_debuggers_in_one_host_have_their_own_commands() {
    let mut session = Session::start();
    session.python("new_debugger(); answer = 0");
    let load = Product::built().load();
    for line in [&*load, "mp-scan version", &*load, "mp-scan version"] {
        let pending = session.send_to(1, line);
        let answer = session.wait(pending);
        assert!(answer.ok, "{line}: {answer:?}");
    }
    session.python("lldb.SBDebugger.Destroy(debuggers.pop()); answer = 0");
    assert!(session.ok("mp-scan version").contains("lldb version 22"));
}

#[test]
fn a_prompt_and_its_python_share_the_plugin() {
    let load = Product::built().load();
    for name in ["lldb-22", "lldb-14", "lldb-19"] {
        let Some(lldb) = host(name) else { continue };
        let scripted = "script r = lldb.SBCommandReturnObject(); \
                        c = lldb.debugger.GetCommandInterpreter(); \
                        c.HandleCommand('PLUGIN', r); c.HandleCommand('mp-scan version', r); \
                        print('collected', r.GetOutput().count('lldb version'))"
            .replace("PLUGIN", &load);
        let answers = batch(lldb, &[&load, &scripted, "mp-scan version"]);
        assert!(answers[1].contains("collected 1"), "{name}: {}", answers[1]);
        assert!(answers[2].contains("lldb version"), "{name}: {}", answers[2]);
    }
}

#[test]
fn is_linked_to_no_lldb_and_bound_lazily() {
    let readelf = |option: &str| {
        let output = Command::new("readelf").args(["--wide", option]).arg(&Product::built().plugin).output();
        String::from_utf8(output.expect("readelf is installed").stdout).expect("text")
    };
    let dynamic = readelf("--dynamic");
    assert!(dynamic.contains("NODELETE") && !dynamic.contains("NOW"), "{dynamic}");
    assert!(dynamic.lines().filter(|line| line.contains("NEEDED")).all(|line| !line.contains("lldb")), "{dynamic}");
    // A name that is bound when the plugin is loaded would be missing in a host that opened its LLDB privately.
    let relocations = readelf("--relocs");
    let of_lldb: Vec<&str> = relocations.lines().filter(|line| line.contains("_ZN4lldb")).collect();
    assert!(of_lldb.len() > 20, "{relocations}");
    for line in of_lldb {
        // The one name that is the plugin's own is not bound at all.
        assert!(line.contains("JUMP_SLO"), "{line}");
    }
}

#[test]
fn a_host_that_lacks_names_is_told_which() {
    let folder = scratch();
    let (source, program) = (folder.path().join("host.c"), folder.path().join("host"));
    // A host with only the one name by which an LLDB is known, in the main program.
    let text = r#"
        #include <dlfcn.h>
        #include <stdio.h>
        void anchor(void) __asm__("_ZN4lldb10SBDebuggerC1ERKS0_");
        void anchor(void) {}
        int main(int count, char **arguments) {
            void *plugin = dlopen(arguments[count - 1], RTLD_LAZY);
            _Bool (*initialize)(void *) = plugin ? (_Bool (*)(void *))dlsym(plugin, "_ZN4lldb16PluginInitializeENS_10SBDebuggerE") : 0;
            if (!initialize) return puts(dlerror()), 2;
            void *debugger[2] = {0, 0};
            return initialize(debugger) ? 1 : 0;
        }"#;
    std::fs::write(&source, text).expect("a file can be written");
    let compiled = Command::new("cc").args(["-rdynamic", "-o"]).args([&program, &source]).arg("-ldl").status();
    assert!(compiled.expect("cc runs").success());
    let output = Command::new(&program).arg(&Product::built().plugin).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in ["mp-scan: ", "lacks ", "lldb::SBCommandReturnObject::AppendMessage(char const*)", "LLDB 14"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_host_without_lldb_is_told_so() {
    let output = Command::new("/usr/bin/python3")
        .args(["-c", "import ctypes, sys; p = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL | 1); sys.exit(p._ZN4lldb16PluginInitializeENS_10SBDebuggerE(None) & 1)"])
        .arg(&Product::built().plugin)
        .output()
        .expect("/usr/bin/python3 runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(said, "mp-scan: no LLDB found in this process\n");
}

/// What the wrappers say of a program that was stopped at `reached`, in each host.
#[test]
fn wrappers_see_the_same_in_each() {
    let program = compile("places.c");
    let load = format!("plugin load {}", probe().display());
    for name in CONSOLES {
        let Some(lldb) = host(name) else { continue };
        let answers = batch(
            lldb,
            &[
                &load,
                &format!("target create {}", program.display()),
                "probe debugger",
                "probe target",
                "probe address reached reached+4 table",
                "breakpoint set --name reached",
                "process launch --stdin /dev/null --stdout /dev/null",
                "probe process",
                "probe threads",
                "probe sites",
                "probe address list list->next &list->next &table[2] table table[1] number *list $sp+8",
                "probe address table first second third malloc 4096 0x1_000 reached+4",
                "probe symbols table reached",
                "probe modules",
                "probe regions",
            ],
        );
        assert_eq!(field(&answers[2], "active"), "true", "{name}");
        assert_eq!(field(&answers[2], "terminal"), "false", "{name}");
        assert_eq!(field(&answers[3], "executable"), program.to_str().expect("text"), "{name}");
        assert_eq!(field(&answers[3], "layout"), "Layout { pointer_size: 8, byte_order: Little }", "{name}");
        let file = addresses(&answers[4]);
        assert_eq!(file[1], file[0] + 4, "{name}");
        assert!(file.iter().all(|address| *address < 0x100_0000), "{name}: not file addresses: {file:x?}");

        assert_eq!(field(&answers[7], "plugin"), "gdb-remote", "{name}");
        assert_eq!(field(&answers[7], "state"), "Stopped", "{name}");
        let pid = field(&answers[7], "id");
        let threads: Vec<&str> = answers[8].lines().collect();
        assert_eq!(threads.len(), 2, "{name}: {}", answers[8]);
        assert!(threads[0].starts_with(&format!("*1 {pid} 0x")) && threads[1].starts_with(" 2 "), "{name}");

        let [list, next, next_place, table2, table, table1, number, list_itself, _] = addresses(&answers[10])[..]
        else {
            panic!("{name}: {}", answers[10])
        };
        let [table_symbol, first, second, third, malloc, decimal, hex, reached4] = addresses(&answers[11])[..] else {
            panic!("{name}: {}", answers[11])
        };
        assert_eq!([list, next, next_place], [first, second, first + 8], "{name}");
        assert_eq!([table2, table, table1], [table + 16, table_symbol, 0x2222_2222_2222_2222], "{name}");
        assert_eq!([number, list_itself], [table + 8, list], "{name}");
        assert_eq!([decimal, hex], [0x1000, 0x1000], "{name}");
        let slide = table - file[2];
        assert_eq!(reached4, file[1] + slide, "{name}");
        assert!(malloc > table && third > file[2], "{name}");

        // The user's breakpoint, and the one by which LLDB learns of new modules.
        let sites = addresses(&answers[9]);
        assert_eq!(sites.len(), 2, "{name}: {}", answers[9]);
        assert!((reached4..reached4 + 64).contains(&sites[0]), "{name}: {sites:x?}");
        let loaded = format!("Some({:x})", file[0] + slide);
        assert!(answers[12].lines().any(|line| line.contains(" reached ") && line.ends_with(&loaded)), "{name}");
        assert!(answers[13].lines().next().is_some_and(|line| line.contains("/places ")), "{name}");
        for kind in ["/places", "[stack]", "libc"] {
            assert!(answers[14].contains(kind), "{name} has no {kind}: {}", answers[14]);
        }
    }
}

fn addresses(output: &str) -> Vec<u64> {
    let parse = |line: &str| u64::from_str_radix(line.strip_prefix("0x")?, 16).ok();
    output.lines().map(|line| parse(line).unwrap_or_else(|| panic!("'{line}' is no address"))).collect()
}

/// Each tells which core file it has opened, also of two that are of the same program.
#[test]
fn core_files_are_known_in_each() {
    let folder = scratch();
    let cores = ["first", "second one"].map(|name| {
        let debuggee = Debuggee::start("values.c", &[]);
        let core = folder.path().join(name);
        std::fs::rename(gcore(debuggee.pid(), folder.path()), &core).expect("a file can be renamed");
        (debuggee.pid(), core)
    });
    let open = cores.each_ref().map(|(_, core)| format!("target create --core '{}'", core.display()));
    let load = format!("plugin load {}", probe().display());
    for name in CONSOLES {
        let Some(lldb) = host(name) else { continue };
        let lines = [&*load, &open[0], &open[1], "probe process", "target select 0", "probe process"];
        let answers = batch(lldb, &lines);
        for (answer, (pid, core)) in [&answers[5], &answers[3]].into_iter().zip(&cores) {
            assert_eq!(field(answer, "core"), format!("{:?}", Some(core)), "{name}");
            assert_eq!(field(answer, "id"), pid.to_string(), "{name}");
            assert_eq!([field(answer, "plugin"), field(answer, "state")], ["elf-core", "Stopped"], "{name}");
        }
    }
}

/// A session with the probe, stopped at `reached`.
fn stopped() -> Session {
    let mut session = Session::without_plugin([] as [(&str, &str); 0]);
    session.ok(&format!("plugin load {}", probe().display()));
    session.ok(&format!("target create {}", compile("places.c").display()));
    session.ok("breakpoint set --name reached");
    session.ok("process launch --stdin /dev/null --stdout /dev/null");
    session
}

#[test]
fn what_is_no_address_is_said_in_one_line() {
    let mut session = stopped();
    let cases = [
        ("nonsense", "'nonsense' is not a number, a register, a variable or a symbol"),
        ("fraction", "'fraction' is of type double, which is not an address"),
        ("table[1", "'table[1' is not a number"),
        ("''", "the address is empty"),
        ("list->nowhere", "'list->nowhere' is not a number"),
        ("0x1ffffffffffffffff", "'0x1ffffffffffffffff' is not a number"),
        ("reached+18446744073709551615", "goes beyond the last address"),
        ("'number = 5'", "is more than a variable path"),
        ("number++", "is more than a variable path"),
        ("--expr list->nowhere", "cannot evaluate 'list->nowhere': "),
        ("--expr malloc(10)", "cannot evaluate 'malloc(10)': "),
    ];
    for (text, expected) in cases {
        let error = session.fails(&format!("probe address {text}"));
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert_eq!(addresses(&session.ok("probe address number")), addresses(&session.ok("probe address &table[1]")));
    let answer = session.ok("probe address --expr 'list->next->next' '&table[3]' '(char *)list + 4'");
    let plain = session.ok("probe address third &table[3] list");
    let (evaluated, plain) = (addresses(&answer), addresses(&plain));
    assert_eq!(evaluated, [plain[0], plain[1], plain[2] + 4]);
}

#[test]
fn a_symbol_that_is_several_places_is_not_guessed() {
    let folder = scratch();
    let sources = ["int *other(void) { return &twice; }", "int main(void) { return twice; }"];
    let files: [_; 2] = std::array::from_fn(|index| folder.path().join(format!("{index}.c")));
    for (file, source) in files.iter().zip(sources) {
        std::fs::write(file, format!("static int twice = 2; {source}")).expect("a file can be written");
    }
    let program = folder.path().join("program");
    assert!(Command::new("cc").arg("-o").arg(&program).args(&files).status().expect("cc runs").success());
    let mut session = Session::without_plugin([] as [(&str, &str); 0]);
    session.ok(&format!("plugin load {}", probe().display()));
    session.ok(&format!("target create {}", program.display()));
    let error = session.fails("probe address twice");
    assert!(error.starts_with("'twice' is several places in program: 0x"), "{error}");
    let places = error.split([' ', ',', ';']).filter(|word| word.starts_with("0x")).count();
    assert_eq!(places, 2, "{error}");
}

#[test]
fn breakpoints_are_not_in_what_is_read() {
    let mut session = stopped();
    let site = addresses(&session.ok("probe sites"))[0];
    let live = format!(
        "import os; f = os.open('/proc/%d/mem' % process.GetProcessID(), 0); answer = os.pread(f, 1, {site})[0]"
    );
    assert_eq!(session.python(&live), 0xcc, "the breakpoint is in memory");
    assert_ne!(session.ok(&format!("probe read {site:#x} 1")).trim(), "cc");
    session.ok("breakpoint disable 1");
    assert!(!addresses(&session.ok("probe sites")).contains(&site));
}

#[test]
fn other_threads_read_whoever_holds_the_lock() {
    let mut session = stopped();
    let table = addresses(&session.ok("probe address table"))[0];
    let bytes = format!("{}{}", "11".repeat(8), "22".repeat(8));
    assert_eq!(session.ok(&format!("probe relay {table:#x} 16")).trim(), bytes);
    // SBDebugger::HandleCommand holds LLDB's lock on the target as long as the command runs.
    session.python(&format!("debugger.HandleCommand('probe relay {table:#x} 16')"));
    assert!(session.screen().contains(&bytes), "{}", session.screen());
    // LLDB keeps nothing that it relays, so that what has changed beside it is seen; and it has its setting back after.
    session.python(&format!(
        "import os; f = os.open('/proc/%d/mem' % process.GetProcessID(), os.O_RDWR); os.pwrite(f, b'\\x99', {table}); os.close(f)"
    ));
    assert_eq!(session.ok(&format!("probe relay {table:#x} 2")).trim(), "9911");
    let disabled = "answer = lldb.SBDebugger.GetInternalVariableValue('target.process.disable-memory-cache', \
                    debugger.GetInstanceName()).GetStringAtIndex(0)";
    assert_eq!(session.python(disabled), "false");
    // A read ends where memory does, and only what begins there fails.
    let regions = session.ok("probe regions");
    let stack = regions.lines().find(|line| line.contains("[stack]")).expect("there is a stack");
    let end = addresses(stack.split(['.', ' ']).nth(2).expect("start..end"))[0];
    assert_eq!(session.ok(&format!("probe relay {:#x} 64", end - 8)).trim().len(), 16);
    assert!(session.fails(&format!("probe relay {end:#x} 64")).contains("the debugger could not read it"));
}

#[test]
fn a_panic_is_the_commands_error() {
    let mut session = stopped();
    let before = session.screen();
    let error = session.fails("probe panic");
    assert!(error.starts_with("internal error: ") && error.ends_with("on purpose"), "{error}");
    assert_eq!(session.screen(), before, "it was printed as well");
    session.ok("probe process");
}

#[test]
fn a_process_that_ended_is_none() {
    let mut session = stopped();
    session.ok("process kill");
    assert_eq!(session.fails("probe process"), "no process");
    session.ok("target delete --all");
    assert_eq!(session.fails("probe target"), "no target");
}

/// Ctrl-C ends a command in each, also one that `-o` runs.
#[test]
fn a_signal_interrupts_a_command_in_each() {
    for name in CONSOLES {
        let Some(mut lldb) = host(name) else { continue };
        let mut lldb = lldb
            .args(["--no-lldbinit", "--batch", "--no-use-colors", "-o"])
            .arg(format!("plugin load {}", probe().display()))
            .args(["-o", "probe wait"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the debugger runs");
        let mut stdout = BufReader::new(lldb.stdout.take().expect("a pipe"));
        let mut line = String::new();
        while line.trim() != "waiting" {
            line.clear();
            assert_ne!(stdout.read_line(&mut line).expect("text"), 0, "{name} ended");
        }
        let pid = nix::unistd::Pid::from_raw(lldb.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it runs");
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("text");
        let output = lldb.wait_with_output().expect("it ends");
        let said = rest + &String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("not interrupted"), "{name}: {said}");
    }
}

/// A launch in an editor whose configuration loads the plugin.
fn edited(adapter: Command) -> Dap {
    let mut dap = Dap::start(adapter);
    let load = format!("plugin load {}", probe().display());
    dap.launch(&compile("places.c"), &[Product::built().load(), load]);
    dap
}

#[test]
fn lldb_dap_loads_it_shows_progress_and_cancels() {
    let Some(adapter) = host("lldb-dap-22") else { return };
    let mut dap = edited(adapter);
    let answer = dap.evaluate("`mp-scan version");
    assert!(field(&answer, "host").starts_with("lldb version 22"), "{answer}");
    assert_eq!(field(&dap.evaluate("`probe debugger"), "active"), "false");
    let table = dap.evaluate("`probe address table");
    // The adapter holds LLDB's lock on the target while it runs a command.
    assert_eq!(dap.evaluate(&format!("`probe relay {} 8", table.trim())).trim(), "11".repeat(8));
    dap.evaluate("`probe progress");
    assert_eq!(dap.event("progressStart")["title"], "Probing");
    assert!(dap.event("progressUpdate")["message"].as_str().is_some_and(|text| text.starts_with("at ")));
    dap.event("progressEnd");
    let found = dap.evaluate("`mp-scan find --int 0x2222222222222222:8 --in module:places");
    assert!(found.contains("table+0x8") && found.contains("1 match; "), "{found}");
    let waiting = dap.send("evaluate", Dap::command("`probe wait"));
    dap.output("waiting");
    dap.ok("cancel", json!({"requestId": waiting}));
    assert_eq!(dap.answer(waiting)["message"], Value::from("cancelled"));
    assert!(dap.evaluate("`mp-scan version").contains("lldb version 22"));
    dap.quit();
}

#[test]
fn codelldb_loads_it() {
    let Some(adapter) = host("codelldb") else { return };
    let mut dap = edited(adapter);
    for _ in 0..2 {
        dap.ok("evaluate", Dap::command("mp-scan version"));
        dap.output("lldb version 20.1.4-codelldb");
    }
    dap.ok("evaluate", Dap::command("mp-scan find --int 0x2222222222222222:8 --in module:places"));
    let found = dap.output("1 match; ");
    assert!(found.contains("table+0x8"), "{found}");
    dap.ok("evaluate", Dap::command("probe debugger"));
    dap.output("active: false");
    dap.ok("evaluate", Dap::command("probe address table"));
    dap.output("0x5555");
    dap.quit();
}
