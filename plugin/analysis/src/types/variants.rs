//! Which values of its discriminant a variant stands for.

use super::program::Program;
use super::unit::{Entry, Unit};
use crate::dwarf::cursor::{Malformed, leb, signed_leb};
use crate::dwarf::shapes::Value;
use gimli::constants as dw;
use std::rc::Rc;

/// No more values are listed of one variant.
const MOST_VALUES: usize = 64;

/// Whether numbers of a type have a sign; `false` if it is not known.
pub(super) fn has_sign<'a>(program: &Program<'a>, unit: &Rc<Unit<'a>>, kind: Option<Value>) -> bool {
    let located = kind.and_then(|kind| program.stripped(unit, kind, true));
    located.is_some_and(|located| match located.entry.tag {
        dw::DW_TAG_enumeration_type => {
            let below = located.entry.kind.and_then(|kind| program.stripped(&located.unit, kind, true));
            below.is_some_and(|below| is_signed(&below.entry))
        }
        _ => is_signed(&located.entry),
    })
}

fn is_signed(base: &Entry) -> bool {
    let encoding = gimli::DwAte(base.encoding as u8);
    base.tag == dw::DW_TAG_base_type && matches!(encoding, dw::DW_ATE_signed | dw::DW_ATE_signed_char)
}

/// A number of at most 16 bytes, as a program writes it. What is written in so many bytes has a sign if its type has one, in the first
/// bit of those: a compiler takes no more than it needs.
pub(super) fn number(unit: &Unit<'_>, value: Value, signed: bool) -> Option<String> {
    let (start, end) = match value {
        Value::Unsigned(number) => return Some(number.to_string()),
        Value::Signed(number) => return Some(number.to_string()),
        Value::Block(start, end) => (start, end),
        _ => return None,
    };
    let bytes = unit.bytes.get(start..end).filter(|bytes| (1..=16).contains(&bytes.len()))?;
    let put = |number: u128, byte: &u8| number << 8 | u128::from(*byte);
    let number = if unit.encoding.big { bytes.iter().fold(0, put) } else { bytes.iter().rev().fold(0, put) };
    let unused = 128 - 8 * bytes.len() as u32;
    Some(if signed { ((number << unused) as i128 >> unused).to_string() } else { number.to_string() })
}

/// What a variant stands for.
pub(super) fn note(unit: &Unit<'_>, variant: &Entry, signed: bool) -> String {
    let values = match (variant.discriminant_value, variant.discriminant_list) {
        (Some(value), _) => number(unit, value, signed),
        (None, Some(Value::Block(start, end))) => {
            let list = unit.bytes.get(start..end);
            list.and_then(|list| listed(list, signed).ok()).map(|values| values.join(", "))
        }
        (None, Some(_)) => None,
        (None, None) => return "variant, any other value".to_owned(),
    };
    format!("variant {}", values.as_deref().unwrap_or("?"))
}

/// The values and the ranges of values of a list (DWARF 5, 5.7.10): what each is, and its numbers.
fn listed(list: &[u8], signed: bool) -> Result<Vec<String>, Malformed> {
    let (mut at, mut values) = (0, Vec::new());
    while at < list.len() && values.len() < MOST_VALUES {
        let descriptor = list[at];
        at += 1;
        let mut next = || match signed {
            true => signed_leb(list, &mut at).map(|number| number.to_string()),
            false => leb(list, &mut at).map(|number| number.to_string()),
        };
        values.push(match gimli::DwDsc(descriptor) {
            dw::DW_DSC_label => next()?,
            dw::DW_DSC_range => format!("{} to {}", next()?, next()?),
            _ => return Err(Malformed::Form(descriptor.into())),
        });
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_values_and_ranges() {
        assert_eq!(listed(&[0, 5, 1, 7, 0x80, 1, 0, 0x7d], false).unwrap(), ["5", "7 to 128", "125"]);
        assert_eq!(listed(&[0, 0x7d, 1, 0x7f, 3], true).unwrap(), ["-3", "-1 to 3"]);
        assert!(listed(&[2, 1], false).is_err());
        assert!(listed(&[1, 1], false).is_err());
    }
}
