//! SBValue.

use crate::class::sb_class;
use crate::target::valid;
use crate::{Error, text};
use lldb_sys as sys;

/// How long an expression may take.
const EXPRESSION_MICROSECONDS: u32 = 2_000_000;

sb_class! {
    /// What a variable, a register or an expression stands for.
    Value(SBValueRef, DisposeSBValue)
}

impl Value {
    /// A value, or why there is none.
    ///
    /// # Safety
    /// `reference` is an SBValue that the caller owns and gives away.
    pub(crate) unsafe fn checked(reference: sys::SBValueRef) -> Result<Self, Error> {
        // SAFETY: the caller vouches for it, and its error is ours.
        unsafe {
            let value = Self::from_owned(reference);
            Error::take(sys::SBValueGetError(value.reference))?;
            if sys::SBValueIsValid(value.reference) { Ok(value) } else { Err(Error::new("no such value")) }
        }
    }

    /// Its name.
    pub fn name(&self) -> Option<String> {
        // SAFETY: the value is ours, and the text is copied at once.
        unsafe { text::copy(sys::SBValueGetName(self.reference)) }
    }

    /// What it consists of, as far as that can be had.
    pub fn children(&self) -> impl Iterator<Item = Self> {
        // SAFETY: the value is ours.
        let count = unsafe { sys::SBValueGetNumChildren(self.reference) };
        // SAFETY: the value is ours, and so is what comes back.
        (0..count).filter_map(|index| unsafe { Self::checked(sys::SBValueGetChildAtIndex(self.reference, index)) }.ok())
    }

    /// It as a number; `None` if it is none, or cannot be read.
    pub fn unsigned(&self) -> Option<u64> {
        // SAFETY: the value is ours, and so is the error, which `take` disposes of.
        unsafe {
            let error = sys::CreateSBError();
            let number = sys::SBValueGetValueAsUnsigned(self.reference, error, 0);
            Error::take(error).ok().map(|()| number)
        }
    }

    /// Where it lies in the process's memory, if it does.
    pub fn load_address(&self) -> Option<u64> {
        // SAFETY: the value is ours.
        valid(unsafe { sys::SBValueGetLoadAddress(self.reference) })
    }

    /// The name of its type.
    pub fn type_name(&self) -> String {
        // SAFETY: the value is ours, and the text is copied at once.
        unsafe { text::copy(sys::SBValueGetTypeName(self.reference)) }.unwrap_or_default()
    }

    /// The address that it means, as in C: what a pointer or a reference points at, where an array, a structure or a
    /// function lies, and the number that an integer is. `None` for anything else.
    pub fn address(&self) -> Option<u64> {
        // SAFETY: the value is ours, and so are the types that come back, which are disposed of once.
        let (class, flags) = unsafe {
            let declared = sys::SBValueGetType(self.reference);
            let canonical = sys::SBTypeGetCanonicalType(declared);
            let known = (sys::SBTypeGetTypeClass(canonical), sys::SBTypeGetTypeFlags(canonical));
            sys::DisposeSBType(canonical);
            sys::DisposeSBType(declared);
            known
        };
        let is = |classes: sys::TypeClass| class & classes.bits() != 0;
        let integer = flags & sys::TypeFlags::IS_INTEGER.bits() != 0;
        if is(sys::TypeClass::POINTER | sys::TypeClass::REFERENCE | sys::TypeClass::ENUMERATION) || integer {
            self.unsigned()
        } else if is(sys::TypeClass::ARRAY
            | sys::TypeClass::CLASS
            | sys::TypeClass::STRUCT
            | sys::TypeClass::UNION
            | sys::TypeClass::FUNCTION)
        {
            self.load_address()
        } else {
            None
        }
    }
}

/// Runs `body` with options under which an expression neither compiles code into the process nor lets it run on.
pub fn with_safe_options<R>(body: impl FnOnce(sys::SBExpressionOptionsRef) -> R) -> R {
    // SAFETY: the options are ours; nothing keeps them beyond `body`.
    unsafe {
        let options = sys::CreateSBExpressionOptions();
        sys::SBExpressionOptionsSetAllowJIT(options, false);
        sys::SBExpressionOptionsSetTryAllThreads(options, false);
        sys::SBExpressionOptionsSetStopOthers(options, true);
        sys::SBExpressionOptionsSetIgnoreBreakpoints(options, true);
        sys::SBExpressionOptionsSetUnwindOnError(options, true);
        sys::SBExpressionOptionsSetSuppressPersistentResult(options, true);
        sys::SBExpressionOptionsSetAutoApplyFixIts(options, false);
        sys::SBExpressionOptionsSetFetchDynamicValue(options, sys::DynamicValueType::NoDynamicValues);
        sys::SBExpressionOptionsSetTimeoutInMicroSeconds(options, EXPRESSION_MICROSECONDS);
        let result = body(options);
        sys::DisposeSBExpressionOptions(options);
        result
    }
}
