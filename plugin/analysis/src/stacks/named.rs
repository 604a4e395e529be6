//! The functions that calls are in.

use super::{Frame, Stack};
use crate::report::{CallRow, FrameRow, LookupRow};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What is to be looked up of stacks, once each, in ascending order.
pub fn addresses<'a>(stacks: impl IntoIterator<Item = &'a Stack>) -> Vec<u64> {
    let frames = stacks.into_iter().flat_map(|stack| &stack.frames);
    frames.map(Frame::within).collect::<BTreeSet<u64>>().into_iter().collect()
}

/// What was found at addresses.
#[derive(Clone, Debug, Default)]
pub struct Names {
    rows: HashMap<u64, LookupRow>,
}

impl Names {
    pub fn new(rows: impl IntoIterator<Item = LookupRow>) -> Self {
        Self { rows: rows.into_iter().map(|row| (row.address, row)).collect() }
    }

    /// Says which file is mapped, as `file_at` tells, where addresses were found in no module: nothing can be read of it here.
    pub fn complete(&mut self, file_at: impl Fn(u64) -> Option<Arc<str>>) {
        for row in self.rows.values_mut().filter(|row| row.module.is_none()) {
            row.module = file_at(row.address);
        }
    }

    /// What is at a frame; `None` if it was not looked up.
    pub fn at(&self, frame: &Frame) -> Option<&LookupRow> {
        self.rows.get(&frame.within())
    }

    /// The functions of a stack, the innermost first. A frame of which nothing is known is one without a name.
    pub fn calls(&self, stack: &Stack) -> Vec<CallRow> {
        stack.frames.iter().flat_map(|frame| self.of(frame)).collect()
    }

    fn of(&self, frame: &Frame) -> Vec<CallRow> {
        let plain = CallRow { address: frame.pc, ..CallRow::default() };
        let Some(row) = self.at(frame) else { return vec![plain] };
        let plain = CallRow { module: row.module.clone(), ..plain };
        // Where the symbol is all that is known, it is how far into the symbol it is that tells more.
        let of_symbol = |call: &mut CallRow| {
            (call.function, call.offset) =
                (row.symbol.clone(), row.offset.map(|offset| offset + frame.pc - row.address));
        };
        let call = |found: &FrameRow| {
            let mut call = CallRow {
                function: found.function.clone(),
                file: found.file.clone(),
                line: found.line,
                column: found.column,
                inlined: found.inlined,
                ..plain.clone()
            };
            if call.function.is_none() {
                of_symbol(&mut call);
            }
            call
        };
        if row.frames.is_empty() {
            let mut call = plain.clone();
            of_symbol(&mut call);
            return vec![call];
        }
        row.frames.iter().map(call).collect()
    }
}

impl CallRow {
    /// What the function is called, for whoever looks for it; empty where it is not known.
    pub fn name(&self) -> Arc<str> {
        self.function.clone().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stacks::End;

    fn frame(pc: u64, interrupted: bool) -> Frame {
        Frame { pc, cfa: 0, interrupted }
    }

    #[test]
    fn calls_are_looked_up_where_they_were_made() {
        let stack = Stack { frames: vec![frame(10, true), frame(20, false), frame(20, false)], end: End::Outermost };
        assert_eq!(addresses([&stack]), [10, 19]);
    }

    #[test]
    fn what_is_in_no_module_is_in_a_file() {
        let rows = [10, 19, 29].map(|address| LookupRow { address, ..LookupRow::default() });
        let known = LookupRow { module: Some("/known".into()), ..rows[0].clone() };
        let mut names = Names::new([known, rows[1].clone(), rows[2].clone()]);
        names.complete(|address| (address < 20).then(|| format!("/mapped-{address}").into()));
        let stack = Stack { frames: vec![frame(10, true), frame(20, false), frame(30, false)], end: End::NoRules };
        let calls = names.calls(&stack);
        let modules: Vec<_> = calls.iter().map(|call| call.module.as_deref()).collect();
        assert_eq!(modules, [Some("/known"), Some("/mapped-19"), None]);
    }

    #[test]
    fn a_frame_has_a_row_for_each_function_or_one_for_its_symbol() {
        let of = |function: &str, inlined| FrameRow {
            function: Some(function.into()),
            line: Some(7),
            inlined,
            ..FrameRow::default()
        };
        let symbol = |address, name: &str, frames| LookupRow {
            address,
            module: Some("/m".into()),
            symbol: Some(name.into()),
            offset: Some(4),
            frames,
        };
        let rows = [symbol(10, "outer", vec![of("inner", true), of("outer", false)]), symbol(19, "caller", vec![])];
        let stack = Stack { frames: vec![frame(10, true), frame(20, false), frame(30, false)], end: End::Outermost };
        let calls = Names::new(rows).calls(&stack);
        let shown: Vec<_> = calls.iter().map(|call| (call.address, call.name(), call.offset, call.inlined)).collect();
        let expected = [(10, "inner", None, true), (10, "outer", None, false), (20, "caller", Some(5), false)];
        let expected = expected.map(|(address, name, offset, inlined)| (address, Arc::from(name), offset, inlined));
        assert_eq!(shown[..3], expected);
        assert_eq!((shown[3].0, &*shown[3].1), (30, ""));
    }
}
