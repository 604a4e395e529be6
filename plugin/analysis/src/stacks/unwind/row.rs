//! Rules of how registers are had back, for one address of code.

use super::super::{End, Register, Registers};
use super::expression::Expression;
use super::window::Window;
use gimli::{CfaRule, RegisterRule};

/// How the registers of a function's caller follow from its own, at one of its instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) cfa: Cfa,
    /// Where it returns to.
    pub(super) pc: Rule,
    /// Of other registers, those that are not left as they are.
    pub(super) rules: Box<[(Register, Rule)]>,
    /// Whether it is what a signal handler returns to, so that its caller was interrupted anywhere.
    pub(super) is_signal: bool,
}

/// How the canonical frame address is computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cfa {
    Above { register: Register, offset: i64 },
    Expression(Expression),
}

/// How a register is had back. Addresses are counted from the canonical frame address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// It is lost.
    Undefined,
    Same,
    /// It lies there.
    At(i64),
    /// It is that address.
    Is(i64),
    /// It is in another register.
    In(Register),
    /// It lies at the address that this gives, or is that.
    AtExpression(Expression),
    IsExpression(Expression),
    Constant(u64),
}

impl Rule {
    /// `None` for an expression that cannot be had.
    fn new(
        rule: RegisterRule<usize>,
        expression: impl Fn(gimli::UnwindExpression<usize>) -> Option<Expression>,
    ) -> Option<Self> {
        Some(match rule {
            // What a machine's own rule is, is not known here.
            RegisterRule::Undefined | RegisterRule::Architectural => Self::Undefined,
            RegisterRule::SameValue => Self::Same,
            RegisterRule::Offset(offset) => Self::At(offset),
            RegisterRule::ValOffset(offset) => Self::Is(offset),
            RegisterRule::Register(register) => Self::In(register.0),
            RegisterRule::Expression(at) => Self::AtExpression(expression(at)?),
            RegisterRule::ValExpression(at) => Self::IsExpression(expression(at)?),
            RegisterRule::Constant(value) => Self::Constant(value),
        })
    }
}

impl Row {
    /// That of a function at its first instruction, when it has just been called.
    pub(super) fn called() -> Self {
        let cfa = Cfa::Above { register: Registers::SP, offset: 8 };
        Self { cfa, pc: Rule::At(-8), rules: Box::default(), is_signal: false }
    }

    /// One of gimli's, of a function that returns by the register `returns`. `None` if an expression of it cannot be had.
    pub(super) fn new<S: gimli::UnwindContextStorage<usize>>(
        row: &gimli::UnwindTableRow<usize, S>,
        returns: gimli::Register,
        is_signal: bool,
        expression: impl Fn(gimli::UnwindExpression<usize>) -> Option<Expression>,
    ) -> Option<Self> {
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => Cfa::Above { register: register.0, offset: *offset },
            CfaRule::Expression(at) => Cfa::Expression(expression(*at)?),
        };
        let mut pc = Rule::Same;
        let mut rules = Vec::new();
        for (register, rule) in row.registers() {
            let rule = Rule::new(rule.clone(), &expression)?;
            if *register == returns {
                pc = rule;
            } else if register.0 < Registers::PC && rule != Rule::Same {
                rules.push((register.0, rule));
            }
        }
        rules.sort_unstable_by_key(|(register, _)| *register);
        Some(Self { cfa, pc, rules: rules.into_boxed_slice(), is_signal })
    }
}

/// The registers of a call on a stack.
#[derive(Clone, Debug)]
pub(super) struct State {
    registers: Registers,
    /// Those whose value is lost, a bit each; one that is neither known nor lost is the thread's still.
    lost: u32,
}

impl State {
    pub(super) fn new(registers: &Registers) -> Self {
        Self { registers: *registers, lost: 0 }
    }

    pub(super) fn pc(&self) -> Result<u64, End> {
        self.get(Registers::PC)
    }

    pub(super) fn stack_pointer(&self) -> Option<u64> {
        self.registers.get(Registers::SP)
    }

    /// What a register holds.
    ///
    /// # Errors
    /// [`End::Needs`] if the thread's is not known, [`End::Malformed`] if it is lost, or if there is no such register.
    pub(super) fn get(&self, register: Register) -> Result<u64, End> {
        let lost = register > Registers::PC || self.lost & 1 << register != 0;
        let missing = if lost { End::Malformed } else { End::Needs(register) };
        self.registers.get(register).ok_or(missing)
    }

    fn set(&mut self, register: Register, value: Option<u64>) {
        self.registers.set(register, value);
        let bit = 1 << register;
        self.lost = if value.is_none() { self.lost | bit } else { self.lost & !bit };
    }

    /// The canonical frame address.
    ///
    /// # Errors
    /// As of [`get`](Self::get), and those of reading memory and of expressions.
    pub(super) fn cfa(&self, row: &Row, stack: &mut Window<'_>) -> Result<u64, End> {
        match &row.cfa {
            Cfa::Above { register, offset } => Ok(self.get(*register)?.wrapping_add_signed(*offset)),
            Cfa::Expression(expression) => expression.evaluate(None, self, stack),
        }
    }

    /// The registers of the caller; `None` if nobody has called.
    ///
    /// # Errors
    /// Those of the rule of where it returns to. Of others, what cannot be read is lost.
    pub(super) fn caller(&self, row: &Row, cfa: u64, stack: &mut Window<'_>) -> Result<Option<Self>, End> {
        let pc = match row.pc {
            Rule::Undefined => return Ok(None),
            // It would be its own caller.
            Rule::Same => return Err(End::Malformed),
            ref rule => self.value(rule, cfa, stack)?,
        };
        let mut caller = self.clone();
        caller.set(Registers::SP, Some(cfa));
        for (register, rule) in &row.rules {
            let value = match self.value(rule, cfa, stack) {
                Ok(value) => Some(value),
                Err(End::Needs(register)) => return Err(End::Needs(register)),
                Err(_) => None,
            };
            caller.set(*register, value);
        }
        caller.set(Registers::PC, Some(pc));
        Ok(Some(caller))
    }

    fn value(&self, rule: &Rule, cfa: u64, stack: &mut Window<'_>) -> Result<u64, End> {
        match rule {
            Rule::Undefined | Rule::Same => Err(End::Malformed),
            Rule::At(offset) => stack.word(cfa.wrapping_add_signed(*offset)),
            Rule::Is(offset) => Ok(cfa.wrapping_add_signed(*offset)),
            Rule::In(register) => self.get(*register),
            Rule::AtExpression(expression) => {
                let address = expression.evaluate(Some(cfa), self, stack)?;
                stack.word(address)
            }
            Rule::IsExpression(expression) => expression.evaluate(Some(cfa), self, stack),
            Rule::Constant(value) => Ok(*value),
        }
    }
}
