//! A type that was found.

use super::best::Rank;
use super::program::ScopeId;
use super::unit::UnitPlace;
use gimli::{DwTag, constants as dw};
use serde::{Deserialize, Serialize};

/// What types are ranked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sort {
    #[default]
    Name,
    /// The largest first.
    Size,
    /// Those first in which most bytes are taken by no member.
    Padding,
}

/// What a type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Kind {
    Struct,
    Class,
    Union,
    Enum,
    Typedef,
    /// The struct of one value of an enumeration of Rust: as large as the whole, whatever is in it.
    Variant,
}

impl Kind {
    /// `variants` says whether it has any, `variant` whether it is one.
    pub(super) fn of(tag: DwTag, variants: bool, variant: bool) -> Self {
        match tag {
            dw::DW_TAG_class_type | dw::DW_TAG_interface_type => Self::Class,
            dw::DW_TAG_union_type => Self::Union,
            dw::DW_TAG_enumeration_type => Self::Enum,
            dw::DW_TAG_typedef => Self::Typedef,
            _ if variants => Self::Enum,
            _ if variant => Self::Variant,
            _ => Self::Struct,
        }
    }

    /// The one whose number this is.
    pub(super) fn from_number(number: u8) -> Option<Self> {
        let all = [Self::Struct, Self::Class, Self::Union, Self::Enum, Self::Typedef, Self::Variant];
        all.get(usize::from(number)).copied()
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Struct => "struct",
            Self::Class => "class",
            Self::Union => "union",
            Self::Enum => "enum",
            Self::Typedef => "typedef",
            Self::Variant => "variant",
        }
    }
}

/// A definition of a type, and where it was found first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Qualified, as it is in the debug information.
    #[serde(with = "serde_bytes")]
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) size: Option<u64>,
    /// Where types are ranked by it; a variant has none, since what it leaves is other variants'.
    pub(super) padding: Option<u64>,
    pub(super) key: Key,
    pub(super) module: usize,
    pub(super) place: Place,
    /// How many definitions of its name there are, but for names that stand for several types; known at the end.
    pub(super) definitions: u64,
}

/// Where a type is defined in a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) scope: ScopeId,
    pub(super) unit: UnitPlace,
    /// Offset of its entry in the unit.
    pub(super) entry: usize,
}

/// How many bytes of a type no member takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Padding {
    /// At least; `None` if nothing can be said.
    pub(super) bytes: Option<u64>,
    /// Whether there is a member or a base that its unit only declares.
    pub(super) declared: bool,
}

/// A definition that may become an item.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) name: &'a [u8],
    pub(super) kind: Kind,
    pub(super) size: Option<u64>,
    pub(super) key: Key,
    pub(super) place: Place,
    /// Whether its unit has defined another type of this name before.
    pub(super) plural: bool,
}

/// Tells definitions apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Key {
    /// Hash of the name, and of whether it is that of a typedef.
    pub(super) name: u64,
    /// Of what is defined.
    pub(super) digest: u64,
}

impl Item {
    pub(super) fn rank(&self) -> Rank<'_> {
        Rank {
            name: &self.name,
            size: self.size,
            padding: self.padding,
            kind: self.kind as u8,
            digest: self.key.digest,
        }
    }
}
