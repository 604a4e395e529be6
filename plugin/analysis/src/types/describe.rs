//! Rows for types that are shown: their layouts, and where they are defined.

use super::elsewhere::Lacking;
use super::item::{Item, Kind, Sort};
use super::layout::{layout, padding};
use super::lines::Lines;
use super::program::{Located, Program};
use super::scan::TypesScanner;
use super::search::has_layout;
use super::spelling::{Speller, lossy};
use super::unit::{Entry, Unit};
use super::{Types, TypesOptions, variants};
use crate::dwarf::ModuleSource;
use crate::report::{LayoutRow, MemberRow, TypeRow, Unknown};
use gimli::constants as dw;
use std::rc::Rc;
use target::modules::{FileSet, Files, InflatedSections};

/// The row of an item, without what has to be read for it.
pub(super) fn plain(set: &FileSet, item: &Item) -> TypeRow {
    TypeRow {
        name: lossy(&item.name),
        kind: item.kind.name().to_owned(),
        size: item.size,
        module: set.modules.get(item.module).map(|module| module.path.clone()).unwrap_or_default(),
        padding: item.padding,
        definitions: Some(item.definitions).filter(|count| *count > 1),
        ..TypeRow::default()
    }
}

/// The rows of items, in their order. What their units only declare is looked up in all of the module and, for layouts, in other
/// modules.
pub(super) fn rows(
    types: &Types,
    scanner: &mut TypesScanner,
    items: &[Item],
    files: &Files,
    stop: &dyn Fn() -> bool,
) -> Vec<TypeRow> {
    let mut rows: Vec<TypeRow> = items.iter().map(|item| plain(&types.set, item)).collect();
    // What a .dwo file takes is given back before the next one is read.
    let group = |number: &usize| (items[*number].module, items[*number].place.scope.skeleton());
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(group);
    for of_module in order.chunk_by(|one, other| items[*one].module == items[*other].module) {
        let module = items[of_module[0]].module;
        scanner.turn_to(module);
        // The order by padding, which is that of modules by themselves, is to agree with what is shown.
        scanner.defined.afar = types.options.layout && types.options.sort != Sort::Padding;
        let mut left = of_module.to_vec();
        // A class that has been found may have bases that are only declared where it is.
        loop {
            let (mut lacking, mut incomplete) = (Lacking::default(), Vec::new());
            for together in left.chunk_by(|one, other| group(one) == group(other)) {
                let (inflated, source) = (InflatedSections::default(), ModuleSource::new(files, module));
                // What cannot be read has been reported by the scan.
                let Ok(program) = Program::new(&source, &inflated) else { continue };
                if looks_elsewhere(&types.options) {
                    program.know(scanner.defined.clone());
                }
                let (mut speller, mut lines) = (Speller::new(&program), Lines::new(&program));
                for number in together {
                    if stop() {
                        return rows;
                    }
                    if let Some(Located { unit, entry }) = program.at(&items[*number].place) {
                        describe(&mut speller, &mut lines, &unit, &entry, &types.options, &mut rows[*number]);
                    }
                    let more = program.take_lacking();
                    if !more.is_empty() {
                        incomplete.push(*number);
                        lacking.extend(more);
                    }
                }
                let path = &types.set.modules[module].path;
                let file = path.rsplit('/').next().unwrap_or(path);
                scanner.unread.extend(lines.unread().into_iter().map(|reason| format!("{file} .debug_line: {reason}")));
            }
            if lacking.is_empty() {
                break;
            }
            if types.learn(files, module, &mut scanner.defined, &lacking, stop).is_none() {
                return rows;
            }
            left = incomplete;
        }
    }
    rows
}

/// Whether what a unit only declares is looked for elsewhere. That takes longer than all the rest: who ranks by padding, or looks at
/// members, waits for it, and a mere list does not say what it does not know.
fn looks_elsewhere(options: &TypesOptions) -> bool {
    options.layout || options.sort == Sort::Padding
}

pub(super) fn describe<'a>(
    speller: &mut Speller<'_, 'a>,
    lines: &mut Lines<'_, 'a>,
    unit: &Rc<Unit<'a>>,
    entry: &Entry,
    options: &TypesOptions,
    row: &mut TypeRow,
) {
    let variant = row.kind == Kind::Variant.name();
    row.file = entry.file.and_then(|file| lines.file(unit, file));
    row.line = entry.line.filter(|line| *line > 0 && row.file.is_some());
    if row.size.is_none() && entry.tag == dw::DW_TAG_typedef {
        row.size = entry.kind.and_then(|kind| speller.program.size(unit, kind));
    }
    match entry.tag {
        tag if has_layout(tag) && options.layout => {
            let layout = layout(speller, unit, entry);
            row.padding = layout.padding.filter(|_| !variant);
            let unknown = if variant { Some(Unknown::Variant) } else { layout.row.unknown };
            row.layout = Some(LayoutRow { unknown, ..layout.row });
        }
        tag if has_layout(tag) && !variant => {
            let found = padding(speller.program, unit, entry);
            row.padding = found.bytes.filter(|_| !found.declared || looks_elsewhere(options));
        }
        dw::DW_TAG_enumeration_type if options.layout => {
            row.layout = Some(enumerators(speller.program, unit, entry));
        }
        dw::DW_TAG_typedef if options.layout => {
            let type_name = speller.spell(unit, entry.kind);
            let declaration = speller.declare(unit, entry.kind, &row.name);
            let member = MemberRow { type_name, declaration, ..MemberRow::default() };
            row.layout = Some(LayoutRow { members: vec![member], ..LayoutRow::default() });
        }
        _ => {}
    }
}

/// The values of an enumeration, as members of no type.
fn enumerators<'a>(program: &Program<'a>, unit: &Rc<Unit<'a>>, entry: &Entry) -> LayoutRow {
    let signed = variants::has_sign(program, unit, entry.kind);
    let values = unit.children(entry).map_while(Result::ok).filter(|value| value.tag == dw::DW_TAG_enumerator);
    let member = |value: Entry| {
        let note = value.constant.and_then(|constant| variants::number(unit, constant, signed));
        MemberRow { name: lossy(unit.text(value.name)), note, ..MemberRow::default() }
    };
    LayoutRow { members: values.map(member).collect(), ..LayoutRow::default() }
}
