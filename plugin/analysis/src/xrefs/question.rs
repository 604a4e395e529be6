//! What a user asks about, and the targets that it comes to.

use super::{Target, base};
use crate::files::is_named;
use crate::symbols::written;
use std::collections::{BTreeMap, HashMap};
use target::AddressRange;
use target::modules::{FileSet, Role, Surveyed};

/// A symbol as it is written: ``[MODULE`]NAME[+OFFSET]``.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolText {
    pub module: Option<String>,
    pub name: String,
    /// Where one address in it is meant.
    pub offset: Option<u64>,
}

/// A symbol of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSymbol {
    /// In full, with its parameters.
    pub name: String,
    /// As linkers know it.
    pub linkage: Vec<u8>,
    /// The number of its module.
    pub module: usize,
    /// In its file's own terms; `None` for one that the module only uses, and for one that each thread has of its own.
    pub address: Option<u64>,
    /// Where it is among what each thread has of its own of the module.
    pub thread_local: Option<u64>,
    /// Bytes of a variable; 0 for anything else.
    pub variable: u64,
}

/// Targets, and what each is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    pub targets: Vec<Target>,
    pub labels: Vec<String>,
}

/// Why there is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    #[error("no symbol '{name}' in {}; see `mp-scan symbols` for what there is", counted(*modules))]
    NoSymbol { name: String, modules: usize },
    #[error("'{name}' is only used, not defined, in {}, so it is at no address", counted(*modules))]
    OnlyUsed { name: String, modules: usize },
    #[error("{range} is in no section of {}", counted(*modules))]
    NoPlace { range: AddressRange, modules: usize },
    #[error("'{name}' is only used, not defined, so there is nothing at +{offset:#x}; leave out the offset")]
    Outside { name: String, offset: u64 },
    #[error("{user} only uses '{name}', which {definer} defines: name that module, or none, since all are searched")]
    Elsewhere { name: String, user: String, definer: String },
}

fn counted(modules: usize) -> String {
    if modules == 1 { "the one module".to_owned() } else { format!("the {modules} modules") }
}

impl SymbolText {
    /// `number` reads an offset.
    pub fn parse(text: &str, number: impl Fn(&str) -> Option<u64>) -> Self {
        let (module, rest) = match text.split_once('`') {
            Some((module, rest)) => (Some(module.trim().to_owned()), rest),
            None => (None, text),
        };
        // `operator+` has no offset.
        let offset = rest.rsplit_once('+').and_then(|(name, offset)| Some((name, number(offset.trim())?)));
        let (name, offset) = offset.map_or((rest, None), |(name, offset)| (name, Some(offset)));
        Self { module, name: name.trim().to_owned(), offset }
    }

    /// Whether the name is one as compilers write it for linkers.
    pub fn is_mangled(&self) -> bool {
        self.name.starts_with("_Z") || self.name.starts_with("_R")
    }

    /// A regex that all names match which [`fits`](Self::fits) takes.
    pub fn regex(&self) -> String {
        if self.is_mangled() { format!("^{}$", regex_syntax::escape(&self.name)) } else { written::regex(&self.name) }
    }

    /// Whether a symbol's name is the one that is written, as [`written::fits`] tells.
    pub fn fits(&self, name: &str) -> bool {
        if self.is_mangled() { self.name == name } else { written::fits(&self.name, name) }
    }

    /// The targets that symbols of the name are: all of a variable, the beginning of anything else.
    ///
    /// # Errors
    /// If there is none.
    pub fn targets(&self, set: &FileSet, symbols: &[NamedSymbol]) -> Result<Targets, QuestionError> {
        let places = self.places(set, symbols);
        let mut targets = Targets::default();
        for ((module, address), (size, name)) in places {
            let surveyed = &set.modules[module];
            let range = match self.offset {
                Some(offset) => AddressRange::sized(address.wrapping_add(offset), 1),
                None => AddressRange::sized(address, size.max(1)),
            };
            let shown = address.wrapping_add(surveyed.bias.unwrap_or(0));
            targets.targets.push(Target::Place { module, range });
            targets.labels.push(format!("{} at {shown:#x} in {}", self.written(name), base(&surveyed.path)));
        }
        let own: BTreeMap<(usize, u64), &NamedSymbol> = symbols
            .iter()
            .filter(|symbol| self.is_wanted(set, symbol))
            .filter_map(|symbol| Some(((symbol.module, symbol.thread_local?), symbol)))
            .collect();
        for ((module, offset), symbol) in own {
            let (start, size) = match self.offset {
                Some(within) => (offset.wrapping_add(within), 1),
                None => (offset, symbol.variable.max(1)),
            };
            targets.targets.push(Target::ThreadLocal { module, range: AddressRange::sized(start, size) });
            let file = base(&set.modules[module].path);
            targets.labels.push(format!("{} of each thread, in {file}", self.written(&symbol.name)));
        }
        // What no module defines is known by its name in the dynamic symbol tables of those that use it.
        let defines = |symbol: &&NamedSymbol| symbol.address.or(symbol.thread_local).is_some();
        let defined: HashMap<&[u8], usize> =
            symbols.iter().filter(defines).map(|symbol| (symbol.linkage.as_slice(), symbol.module)).collect();
        let used = symbols.iter().filter(|symbol| !defines(symbol) && self.is_wanted(set, symbol));
        let (mut outside, mut elsewhere) = (BTreeMap::new(), None);
        for symbol in used {
            match defined.get(symbol.linkage.as_slice()) {
                Some(definer) => elsewhere = elsewhere.or(Some((symbol.module, *definer))),
                None => {
                    outside.entry(symbol.linkage.as_slice()).or_insert(symbol.name.as_str());
                }
            }
        }
        if targets.targets.is_empty()
            && !outside.is_empty()
            && let Some(offset) = self.offset
        {
            return Err(QuestionError::Outside { name: self.name.clone(), offset });
        }
        for (linkage, name) in outside.into_iter().filter(|_| self.offset.is_none()) {
            targets.targets.push(Target::Outside(linkage.to_vec()));
            targets.labels.push(format!("{name}, which no module defines"));
        }
        if let [label] = &mut targets.labels[..] {
            *label = self.written(&self.name);
        }
        if targets.targets.is_empty()
            && let Some((user, definer)) = elsewhere
        {
            let file = |module: usize| base(&set.modules[module].path).to_owned();
            return Err(QuestionError::Elsewhere { name: self.name.clone(), user: file(user), definer: file(definer) });
        }
        if targets.targets.is_empty() {
            return Err(QuestionError::NoSymbol { name: self.name.clone(), modules: set.modules.len() });
        }
        Ok(targets)
    }

    /// The addresses that are meant, each with the number of its module, in its file's own terms: of several symbols of the name, all.
    ///
    /// # Errors
    /// If there is none.
    pub fn addresses(&self, set: &FileSet, symbols: &[NamedSymbol]) -> Result<Vec<(usize, u64)>, QuestionError> {
        let places = self.places(set, symbols);
        let (name, modules) = (self.name.clone(), set.modules.len());
        if places.is_empty() {
            return Err(match symbols.iter().any(|symbol| self.is_wanted(set, symbol)) {
                false => QuestionError::NoSymbol { name, modules },
                true => QuestionError::OnlyUsed { name, modules },
            });
        }
        let offset = self.offset.unwrap_or(0);
        Ok(places.into_keys().map(|(module, address)| (module, address.wrapping_add(offset))).collect())
    }

    /// Whether a symbol is in the module that is meant.
    fn is_wanted(&self, set: &FileSet, symbol: &NamedSymbol) -> bool {
        let name = |name: &String| is_named(&set.modules[symbol.module].path, name);
        self.module.as_ref().is_none_or(name)
    }

    /// Where symbols of the name are, in the module that is meant: by module and address, the bytes of a variable and the full name.
    fn places<'s>(&self, set: &FileSet, symbols: &'s [NamedSymbol]) -> BTreeMap<(usize, u64), (u64, &'s str)> {
        let mut places: BTreeMap<(usize, u64), (u64, &str)> = BTreeMap::new();
        for symbol in symbols.iter().filter(|symbol| self.is_wanted(set, symbol)) {
            if let Some(address) = symbol.address {
                let (size, _) = places.entry((symbol.module, address)).or_insert((0, &symbol.name));
                *size = symbol.variable.max(*size);
            }
        }
        places
    }

    /// The name of a symbol, with the offset.
    fn written(&self, name: &str) -> String {
        self.offset.map_or_else(|| name.to_owned(), |offset| format!("{name}+{offset:#x}"))
    }
}

impl Targets {
    /// The target that `range` is: load addresses if the modules are `loaded`, else addresses of a file, that of the first
    /// module. `name` says of which module.
    ///
    /// # Errors
    /// If it begins in no section of a module.
    pub fn at(set: &FileSet, range: AddressRange, loaded: bool, name: Option<&str>) -> Result<Self, QuestionError> {
        let named =
            (0..set.modules.len()).filter(|module| name.is_none_or(|name| is_named(&set.modules[*module].path, name)));
        let modules: Vec<usize> = named.take(if loaded { usize::MAX } else { 1 }).collect();
        let place = |module: &usize| {
            let module = *module;
            let surveyed = &set.modules[module];
            let bias = if loaded { surveyed.bias? } else { 0 };
            let start = range.start.wrapping_sub(bias);
            let inside = has_address(surveyed, start);
            inside.then_some(Target::Place { module, range: AddressRange::sized(start, range.len()) })
        };
        let target = modules.iter().find_map(place).ok_or(QuestionError::NoPlace { range, modules: modules.len() })?;
        let label = if range.len() == 1 { format!("{:#x}", range.start) } else { range.to_string() };
        Ok(Self { targets: vec![target], labels: vec![label] })
    }
}

/// Whether a section of the module's file is loaded at that address.
fn has_address(module: &Surveyed, address: u64) -> bool {
    let loaded =
        module.sections.iter().filter(|section| section.alloc && module.files[section.file].role == Role::Main);
    let mut loaded = loaded.map(|section| AddressRange::sized(section.address, section.size));
    loaded.any(|section| section.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> SymbolText {
        SymbolText::parse(text, |number| u64::from_str_radix(number.strip_prefix("0x")?, 16).ok())
    }

    #[test]
    fn a_symbol_has_a_module_and_an_offset_where_they_are_written() {
        let symbol = |module: Option<&str>, name: &str, offset| SymbolText {
            module: module.map(str::to_owned),
            name: name.to_owned(),
            offset,
        };
        assert_eq!(text("step"), symbol(None, "step", None));
        assert_eq!(text("step+0x10"), symbol(None, "step", Some(16)));
        assert_eq!(text("libstep.so`step + 0x1"), symbol(Some("libstep.so"), "step", Some(1)));
        assert_eq!(text("N::operator+"), symbol(None, "N::operator+", None));
        assert_eq!(text("N::operator+(int)"), symbol(None, "N::operator+(int)", None));
    }
}
