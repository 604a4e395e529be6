//! Where code is, and the rules for it.

use super::super::{End, Registers};

use super::View;
use super::expression::Expression;
use super::frames::{Known, Room, Sections, Workshop};
use super::image::{Headers, Image};
use super::row::{Cfa, Row, Rule};
use super::window::Window;
use gimli::UnwindContext;
use rustc_hash::FxHashMap;
use std::cell::OnceCell;
use std::ops::Range;
use target::modules::{Machine, Surveyed};

/// So many rows are kept. Thousands of threads are at a few hundred addresses.
const MOST_ROWS: usize = 1 << 14;

/// `mov $15, %rax; syscall`: what signal handlers return to (rt_sigreturn). Debuggers and unwinders know it by these bytes.
pub(super) const SIGNAL_RETURN: [u8; 9] = [0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05];

/// Where in what the kernel has pushed for a signal handler (`struct ucontext`, arch/x86/include/uapi/asm/sigcontext.h) the registers
/// are saved, and their numbers in the order that they have there, a word each.
const SAVED: usize = 40;
const SAVED_ORDER: [u16; 17] = [8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16];

/// The code of a target's modules, and the rules that have been looked up in it.
pub(super) struct Code {
    modules: Vec<Module>,
    /// Beginning, end, module; in ascending order.
    spans: Vec<(u64, u64, usize)>,
    rows: FxHashMap<u64, Result<Option<usize>, End>>,
    kept: Vec<Row>,
    workshop: Workshop,
}

#[derive(Default)]
struct Module {
    known: Known,
    /// Those in memory, if it has no file here.
    headers: Option<Headers>,
    image: OnceCell<Option<Image>>,
}

impl Code {
    pub(super) fn new(view: &View) -> Self {
        let mut modules = Vec::new();
        let mut spans = Vec::new();
        for (number, surveyed) in view.files.set().modules.iter().enumerate() {
            let mut module = Module::default();
            let code = in_files(surveyed).unwrap_or_else(|| {
                module.headers = surveyed.base.and_then(|base| Headers::read(&*view.memory, base));
                module.headers.as_ref().map(|headers| headers.code.clone()).unwrap_or_default()
            });
            spans.extend(code.into_iter().map(|range| (range.start, range.end, number)));
            modules.push(module);
        }
        spans.sort_unstable();
        let context = Box::new(UnwindContext::<usize, Room>::new_in());
        Self { modules, spans, rows: FxHashMap::default(), kept: Vec::new(), workshop: Workshop { context, budget: 0 } }
    }

    /// Allows so many bytes of call frame instructions to be looked at from here on.
    pub(super) fn allow(&mut self, budget: usize) {
        self.workshop.budget = budget;
    }

    /// The module that an address of code is in.
    pub(super) fn module_at(&self, address: u64) -> Option<usize> {
        let after = self.spans.partition_point(|(start, _, _)| *start <= address);
        let (_, end, module) = *self.spans[..after].last()?;
        (address < end).then_some(module)
    }

    /// The rules for a frame that is at `pc`: at that instruction if it was interrupted there, else at the call before. Whether they
    /// are those of what a signal handler returns to is a matter of `pc` itself, which no call precedes.
    ///
    /// # Errors
    /// [`End::NoCode`], [`End::NoRules`] or [`End::Malformed`].
    pub(super) fn row(&mut self, view: &View, pc: u64, interrupted: bool, stack: &mut Window<'_>) -> Result<&Row, End> {
        let within = if interrupted { pc } else { pc.wrapping_sub(1) };
        let mut found = self.described(view, within)?;
        if found.is_none() && !interrupted {
            found = self.described(view, pc)?.filter(|row| self.kept[*row].is_signal);
        }
        if found.is_none() {
            found = self.signal_return(pc, stack);
        }
        let in_code = self.module_at(within).is_some();
        if found.is_none() && !in_code && interrupted && stack.bytes::<1>(pc).is_err() {
            // Nothing is there: what was called was no function.
            found = Some(self.keep(pc, Row::called()));
        }
        let missing = if in_code { End::NoRules } else { End::NoCode };
        found.map(|row| &self.kept[row]).ok_or(missing)
    }

    /// The number of the row that call frame information has for an instruction.
    fn described(&mut self, view: &View, address: u64) -> Result<Option<usize>, End> {
        if let Some(row) = self.rows.get(&address) {
            return *row;
        }
        let Some(number) = self.module_at(address) else { return Ok(None) };
        let module = &self.modules[number];
        let sections = match &module.headers {
            None => Sections::of_files(&view.files, number),
            Some(headers) => {
                let image = module.image.get_or_init(|| Image::read(&*view.memory, headers));
                image.as_ref().map(Sections::of_image).unwrap_or_default()
            }
        };
        match sections.row(&module.known, address, &mut self.workshop) {
            Ok(Some(row)) => Ok(Some(self.keep(address, row))),
            other => {
                let none = other.map(|_| None);
                // What failed because too much had been looked at may not fail for the next.
                if self.workshop.budget > 0 {
                    self.rows.insert(address, none);
                }
                none
            }
        }
    }

    fn keep(&mut self, address: u64, row: Row) -> usize {
        if self.kept.len() >= MOST_ROWS || self.rows.len() >= 2 * MOST_ROWS {
            self.rows.clear();
            self.kept.clear();
        }
        self.kept.push(row);
        self.rows.insert(address, Ok(Some(self.kept.len() - 1)));
        self.kept.len() - 1
    }

    /// The rules of what a signal handler returns to, if that is at `address` and nothing describes it.
    fn signal_return(&mut self, address: u64, stack: &mut Window<'_>) -> Option<usize> {
        self.module_at(address)?;
        let start =
            [address, address.wrapping_sub(7)].into_iter().find(|start| stack.bytes(*start) == Ok(SIGNAL_RETURN));
        start?;
        // The stack pointer is where that begins.
        let saved = |register: u16| {
            let place = SAVED_ORDER.iter().position(|saved| *saved == register)?;
            Some(Expression::from_stack_pointer((SAVED + 8 * place) as u8, false))
        };
        let rules = (0..16).filter(|register| *register != Registers::SP);
        let rules = rules.filter_map(|register| Some((register, Rule::AtExpression(saved(register)?)))).collect();
        let cfa = Cfa::Expression(Expression::from_stack_pointer((SAVED + 8 * 15) as u8, true));
        let pc = Rule::AtExpression(saved(Registers::PC)?);
        Some(self.keep(address, Row { cfa, pc, rules, is_signal: true }))
    }
}

/// Where a module's code is loaded; `None` if no file of it tells.
fn in_files(surveyed: &Surveyed) -> Option<Vec<Range<u64>>> {
    let bias = surveyed.bias?;
    surveyed.loaded().next()?;
    if surveyed.machine != Machine::X86_64 || surveyed.layout.pointer_size != 8 {
        return Some(Vec::new());
    }
    let range = |code: Range<u64>| {
        let start = code.start.wrapping_add(bias);
        start..start.saturating_add(code.end - code.start)
    };
    Some(surveyed.code().into_iter().map(range).collect())
}
