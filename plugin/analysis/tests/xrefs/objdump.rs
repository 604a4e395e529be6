//! What `objdump` and `readelf` say about a file.

use ::analysis::xrefs::{Kind, Named};
use regex_automata::meta::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use target::AddressRange;

/// The instructions of a file, as text.
pub struct Disassembly {
    /// The address, and the text without the bytes; not those of stubs.
    lines: Vec<(u64, String)>,
    /// The addresses of stubs, by the name of what they jump to.
    stubs: BTreeMap<String, BTreeSet<u64>>,
    /// The slots of the global offset table that hold a symbol's address, by its name.
    slots: BTreeMap<String, BTreeSet<u64>>,
    /// Places and the addresses of the file that are written to them.
    relative: Vec<(u64, u64)>,
    /// Whether what an instruction holds is an address as it is.
    fixed: bool,
    got: AddressRange,
}

fn run(program: &str, arguments: &[&str], path: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(path).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    assert!(output.status.success(), "{program} {}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

impl Disassembly {
    pub fn of(path: &Path) -> Self {
        let mut this = Self {
            lines: Vec::new(),
            stubs: BTreeMap::new(),
            slots: BTreeMap::new(),
            relative: Vec::new(),
            fixed: run("readelf", &["-hW"], path).contains("EXEC (Executable file)"),
            got: AddressRange::default(),
        };
        let mut in_stubs = false;
        for line in run("objdump", &["-d", "--no-show-raw-insn", "-w"], path).lines() {
            if let Some(section) = line.strip_prefix("Disassembly of section ") {
                in_stubs = section.starts_with(".plt") || section.starts_with(".iplt");
            } else if let Some((address, name)) = line.strip_suffix("@plt>:").and_then(|line| line.split_once(" <")) {
                this.stubs.entry(bare(name)).or_default().extend(hex(address));
            } else if let Some((address, text)) = line.split_once(":\t")
                && let Some(address) = hex(address.trim())
                && !in_stubs
            {
                this.lines.push((address, text.to_owned()));
            }
        }
        for line in run("readelf", &["-rW"], path).lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                [place, _, "R_X86_64_GLOB_DAT" | "R_X86_64_JUMP_SLOT", _, name, ..] => {
                    this.slots.entry(bare(name)).or_default().extend(hex(place));
                }
                [place, _, "R_X86_64_RELATIVE", addend] => this.relative.extend(hex(place).zip(hex(addend))),
                _ => {}
            }
        }
        for line in run("readelf", &["-SW"], path).lines() {
            if let Some((_, rest)) = line.split_once("] .got ") {
                let words: Vec<&str> = rest.split_whitespace().collect();
                this.got = AddressRange::sized(hex(words[1]).unwrap(), hex(words[3]).unwrap());
            }
        }
        this
    }

    /// The instructions that refer to a symbol of the given names, of this file where `range` is given, and how.
    pub fn references(&self, names: &[&str], range: Option<AddressRange>) -> BTreeSet<(u64, Kind)> {
        let branch =
            Regex::new(r"^(?:bnd |addr32 |notrack |data16 )*(call|j[a-z]+|loop[a-z]*) +([0-9a-f]+)(?: <|$)").unwrap();
        let comment = Regex::new(r"# ([0-9a-f]+)(?: <|$)").unwrap();
        let number = Regex::new(r"(?:^|[ ,$*:])0x([0-9a-f]+)").unwrap();
        let all = |by_name: &BTreeMap<String, BTreeSet<u64>>| -> BTreeSet<u64> {
            names.iter().filter_map(|name| by_name.get(*name)).flatten().copied().collect()
        };
        let (stubs, mut slots) = (all(&self.stubs), all(&self.slots));
        let own = self
            .relative
            .iter()
            .filter(|(place, value)| self.got.contains(*place) && range.is_some_and(|range| range.contains(*value)));
        slots.extend(own.map(|(place, _)| *place));
        let mut found = BTreeSet::new();
        for (address, text) in &self.lines {
            let group = |regex: &Regex, group: usize| {
                let mut captures = regex.create_captures();
                regex.captures(text, &mut captures);
                captures.get_group(group).map(|span| text[span.range()].to_owned())
            };
            let direct = |value: u64| range.is_some_and(|range| range.contains(value)) || stubs.contains(&value);
            if let Some(value) = group(&branch, 2).and_then(|value| hex(&value)) {
                if direct(value) {
                    let call = group(&branch, 1).is_some_and(|name| name == "call");
                    found.insert((*address, if call { Kind::Call } else { Kind::Jump }));
                }
                continue;
            }
            let relative = group(&comment, 1).and_then(|value| hex(&value));
            let numbers = number
                .find_iter(text)
                .filter_map(|part| hex(text[part.range()].trim_start_matches([' ', ',', '$', '*', ':'])));
            let numbers: Vec<u64> = if self.fixed { numbers.collect() } else { Vec::new() };
            for value in numbers.into_iter().chain(relative) {
                if slots.contains(&value) {
                    let kind = match text {
                        text if text.contains("call ") => Kind::Call,
                        text if text.contains("jmp ") => Kind::Jump,
                        _ => Kind::Mention,
                    };
                    found.insert((*address, kind));
                } else if direct(value) {
                    found.insert((*address, Kind::Mention));
                }
            }
        }
        found
    }

    /// As [`references`](Self::references), to a target.
    pub fn references_to(&self, target: &Named, here: bool) -> BTreeSet<(u64, Kind)> {
        let names: Vec<String> = target.names.iter().map(|name| bare(&String::from_utf8_lossy(&name.name))).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.references(&names, here.then_some(target.target.range()))
    }
}

/// A name without its version.
fn bare(name: &str) -> String {
    name.split('@').next().unwrap_or(name).to_owned()
}
