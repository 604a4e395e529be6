//! Abbreviations of .debug_abbrev, made ready for reading and skipping entries fast.

use super::cursor::{Encoding, Malformed, leb, number, signed_leb};
use gimli::constants as dw;
use gimli::{DwAt, DwForm, DwTag};
use std::collections::HashMap;

/// What an entry is to a walk over a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The root of a unit.
    Unit,
    /// A namespace or a module.
    Namespace,
    /// A struct, class or union.
    Aggregate,
    Enumeration,
    Typedef,
    Function,
    /// A call of a function that was inlined.
    Inlined,
    /// A block of a function.
    Block,
    /// What says that another unit's entries belong here.
    Import,
    /// A part of a type: a member, a base, a variant, a value of an enumeration.
    Member,
    /// None of these.
    Other,
}

/// Attributes that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Name,
    Size,
    Type,
    Sibling,
    Declaration,
    /// `DW_AT_specification`, `DW_AT_abstract_origin`.
    Origin,
    Signature,
    Import,
    Location,
    BitSize,
    /// From the most significant bit of the storage unit, as DWARF 2 has it.
    BitOffset,
    DataBitOffset,
    Count,
    UpperBound,
    LowerBound,
    Constant,
    Encoding,
    Artificial,
    External,
    Virtuality,
    ContainingType,
    Discriminant,
    DiscriminantValue,
    DiscriminantList,
    Alignment,
    Prototyped,
    Vector,
    File,
    Line,
    StringOffsets,
    LineTable,
    Folder,
    SplitName,
    Language,
    LowAddress,
    /// The same, or the number of bytes behind it.
    HighAddress,
    Ranges,
    CallFile,
    CallLine,
    CallColumn,
    /// `DW_AT_location`: where a variable is.
    Storage,
}

/// The value of an attribute. Positions are in the unit's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Unsigned(u64),
    Signed(i64),
    Text(Text),
    /// An entry of the same unit.
    Unit(usize),
    /// An entry at an offset of the section.
    Section(usize),
    /// An entry of the alternate file's .debug_info.
    Alternate(usize),
    /// The type of the type unit with this signature.
    Signature(u64),
    Block(usize, usize),
    Address(u64),
    /// An index of .debug_addr.
    AddressIndex(usize),
    /// An index of the unit's lists of ranges.
    RangesIndex(usize),
}

/// Where a string is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) enum Text {
    #[default]
    None,
    /// In the unit itself.
    Here(usize),
    /// At an offset of .debug_str.
    Str(usize),
    /// At an offset of .debug_line_str.
    Line(usize),
    /// At an index of .debug_str_offsets.
    Index(usize),
    /// At an offset of the alternate file's .debug_str.
    Alternate(usize),
}

impl Value {
    pub(crate) fn unsigned(self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(value),
            Self::Signed(value) => u64::try_from(value).ok(),
            _ => None,
        }
    }

    pub(crate) fn signed(self) -> Option<i64> {
        match self {
            Self::Unsigned(value) => i64::try_from(value).ok(),
            Self::Signed(value) => Some(value),
            _ => None,
        }
    }
}

/// A step of reading an entry's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    /// So many bytes are skipped.
    Skip(u32),
    /// A value of a form whose length has to be read is skipped.
    Pass(DwForm),
    Keep(Slot, DwForm),
    /// A number of so many bytes, of which something else says whether it has a sign.
    Raw(Slot, u32),
    /// The value is that of the abbreviation.
    Known(Slot, i64),
}

/// What all entries with one abbreviation have in common.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) tag: DwTag,
    pub(crate) children: bool,
    pub(crate) role: Role,
    /// Bytes of all attributes, if none has a length of its own.
    size: Option<u32>,
    /// The same, if a walk reads none.
    fixed: Option<u32>,
    /// What a walk reads.
    brief: Box<[Op]>,
    /// All that is read of types.
    full: Box<[Op]>,
}

/// What a walk over a unit looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// Types, and what they are in.
    Types,
    /// The code of functions.
    Code,
    /// Variables that have an address.
    Variables,
}

/// A table of abbreviations, for units of one encoding.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    /// By code, from 1 on.
    dense: Vec<Shape>,
    sparse: HashMap<u64, Shape>,
    /// How the names of what types and their contexts are called by are written.
    pub(crate) names: NameForms,
    /// What else their names depend on.
    pub(crate) ties: Ties,
}

/// Forms of the names of namespaces, types and functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameForms {
    /// Offsets of .debug_str.
    pub(crate) offset: bool,
    /// Indexes of .debug_str_offsets.
    pub(crate) index: bool,
    /// In the unit itself.
    pub(crate) here: bool,
    /// In another section, or of a form that each entry says by itself.
    pub(crate) other: bool,
}

/// What names of types depend on beyond what is written around them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ties {
    /// Types complete entries of the same unit, by offsets of 4 bytes.
    pub(crate) types: bool,
    /// Types complete others in some other way.
    pub(crate) types_afar: bool,
    /// So do functions, or types stand for such of type units.
    pub(crate) contexts_afar: bool,
    /// Other units are imported.
    pub(crate) imports: bool,
    /// What contexts have in them says where it ends: for some of them, at least.
    pub(crate) siblings: bool,
}

impl Shapes {
    /// Reads the table at the beginning of `bytes`.
    pub(crate) fn read(bytes: &[u8], encoding: Encoding, purpose: Purpose) -> Result<Self, Malformed> {
        let mut shapes = Self::default();
        let at = &mut 0;
        loop {
            let code = leb(bytes, at)?;
            if code == 0 {
                return Ok(shapes);
            }
            let tag = DwTag(u16::try_from(leb(bytes, at)?).map_err(|_| Malformed::Abbreviation)?);
            let children = number(bytes, at, 1, false)? != 0;
            let mut attributes = Vec::new();
            loop {
                let (name, form) = (leb(bytes, at)?, leb(bytes, at)?);
                let form = DwForm(u16::try_from(form).map_err(|_| Malformed::Abbreviation)?);
                if (name, form.0) == (0, 0) {
                    break;
                }
                let value = if form == dw::DW_FORM_implicit_const { signed_leb(bytes, at)? } else { 0 };
                // An attribute beyond all that are defined is skipped as any other that is not known here.
                attributes.push((DwAt(u16::try_from(name).unwrap_or(0)), form, value));
            }
            let shape = Shape::new(tag, children, &attributes, encoding, purpose)?;
            shapes.note(shape.role, &attributes);
            if code == shapes.dense.len() as u64 + 1 {
                shapes.dense.push(shape);
            } else {
                shapes.sparse.entry(code).or_insert(shape);
            }
        }
    }

    /// Takes down what names of entries of that role depend on.
    fn note(&mut self, role: Role, attributes: &[(DwAt, DwForm, i64)]) {
        self.ties.imports |= role == Role::Import;
        let is_type = matches!(role, Role::Aggregate | Role::Enumeration | Role::Typedef);
        if !(is_type || matches!(role, Role::Namespace | Role::Function)) {
            return;
        }
        let is_here =
            |form| matches!(form, dw::DW_FORM_ref1 | dw::DW_FORM_ref2 | dw::DW_FORM_ref8 | dw::DW_FORM_ref_udata);
        for (name, form, _) in attributes {
            match (slot(*name), *form) {
                (Some(Slot::Sibling), _) => self.ties.siblings = true,
                (Some(Slot::Name), dw::DW_FORM_strp) => self.names.offset = true,
                (Some(Slot::Name), dw::DW_FORM_string) => self.names.here = true,
                (Some(Slot::Name), form) if is_index(form) => self.names.index = true,
                (Some(Slot::Name), _) => self.names.other = true,
                (Some(Slot::Origin), dw::DW_FORM_ref4) => self.ties.types |= is_type,
                (Some(Slot::Origin), form) if is_type || !is_here(form) => {
                    self.ties.types_afar |= is_type;
                    self.ties.contexts_afar = true;
                }
                (Some(Slot::Signature), _) => self.ties.contexts_afar = true,
                _ => {}
            }
        }
    }

    #[inline]
    pub(crate) fn shape(&self, code: u64) -> Result<&Shape, Malformed> {
        match self.dense.get((code as usize).wrapping_sub(1)) {
            Some(shape) => Ok(shape),
            None => self.sparse.get(&code).ok_or(Malformed::Code(code)),
        }
    }
}

impl Shape {
    fn new(
        tag: DwTag,
        children: bool,
        attributes: &[(DwAt, DwForm, i64)],
        encoding: Encoding,
        purpose: Purpose,
    ) -> Result<Self, Malformed> {
        let role = role(tag);
        let brief = ops(attributes, encoding, |slot| match purpose {
            Purpose::Types => kept(role, children, slot),
            Purpose::Code => kept_of_code(role, children, slot),
            Purpose::Variables => tag == dw::DW_TAG_variable && slot == Slot::Storage,
        })?;
        let sizes = attributes.iter().map(|(_, form, _)| Ok(size(*form, encoding)?.map(u64::from)));
        let sizes = sizes.collect::<Result<Option<Vec<_>>, Malformed>>()?;
        let size = sizes.and_then(|sizes| u32::try_from(sizes.iter().sum::<u64>()).ok());
        let fixed = match &*brief {
            [] => Some(0),
            [Op::Skip(size)] => Some(*size),
            _ => None,
        };
        Ok(Self { tag, children, role, size, fixed, brief, full: ops(attributes, encoding, |slot| !is_code(slot))? })
    }

    /// Reads what a walk needs of the entry whose attributes begin at `at`, and returns where they end.
    #[inline]
    pub(crate) fn brief(
        &self,
        bytes: &[u8],
        at: usize,
        encoding: Encoding,
        keep: impl FnMut(Slot, Value),
    ) -> Result<usize, Malformed> {
        match self.fixed {
            Some(size) => Ok(at + size as usize),
            None => run(&self.brief, bytes, at, encoding, keep),
        }
    }

    /// Skips all attributes of the entry whose attributes begin at `at`, and returns where they end.
    #[inline]
    pub(crate) fn skip(&self, bytes: &[u8], at: usize, encoding: Encoding) -> Result<usize, Malformed> {
        match self.size {
            Some(size) => Ok(at + size as usize),
            None => run(&self.brief, bytes, at, encoding, |_, _| {}),
        }
    }

    /// Reads all attributes but those of code.
    pub(crate) fn full(
        &self,
        bytes: &[u8],
        at: usize,
        encoding: Encoding,
        keep: impl FnMut(Slot, Value),
    ) -> Result<usize, Malformed> {
        run(&self.full, bytes, at, encoding, keep)
    }
}

pub(crate) fn role(tag: DwTag) -> Role {
    match tag {
        dw::DW_TAG_compile_unit | dw::DW_TAG_partial_unit | dw::DW_TAG_type_unit | dw::DW_TAG_skeleton_unit => {
            Role::Unit
        }
        dw::DW_TAG_namespace | dw::DW_TAG_module => Role::Namespace,
        dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type | dw::DW_TAG_interface_type => {
            Role::Aggregate
        }
        dw::DW_TAG_enumeration_type => Role::Enumeration,
        dw::DW_TAG_typedef => Role::Typedef,
        dw::DW_TAG_subprogram => Role::Function,
        dw::DW_TAG_inlined_subroutine => Role::Inlined,
        dw::DW_TAG_lexical_block | dw::DW_TAG_try_block | dw::DW_TAG_catch_block => Role::Block,
        dw::DW_TAG_imported_unit => Role::Import,
        dw::DW_TAG_member
        | dw::DW_TAG_inheritance
        | dw::DW_TAG_variant_part
        | dw::DW_TAG_variant
        | dw::DW_TAG_enumerator
        | dw::DW_TAG_subrange_type
        | dw::DW_TAG_formal_parameter
        | dw::DW_TAG_unspecified_parameters => Role::Member,
        _ => Role::Other,
    }
}

/// Whether it is a string by its index.
fn is_index(form: DwForm) -> bool {
    matches!(
        form,
        dw::DW_FORM_strx
            | dw::DW_FORM_strx1
            | dw::DW_FORM_strx2
            | dw::DW_FORM_strx3
            | dw::DW_FORM_strx4
            | dw::DW_FORM_GNU_str_index
    )
}

/// Whether it is a number of a fixed length, which does not say by itself whether it has a sign.
fn is_data(form: DwForm) -> bool {
    matches!(form, dw::DW_FORM_data1 | dw::DW_FORM_data2 | dw::DW_FORM_data4 | dw::DW_FORM_data8 | dw::DW_FORM_data16)
}

/// Whether a walk reads an attribute.
fn kept(role: Role, children: bool, slot: Slot) -> bool {
    match role {
        Role::Unit => false,
        Role::Block => children && slot == Slot::Sibling,
        Role::Namespace => matches!(slot, Slot::Name | Slot::Sibling),
        Role::Aggregate | Role::Enumeration => {
            matches!(slot, Slot::Name | Slot::Size | Slot::Declaration | Slot::Signature | Slot::Origin | Slot::Sibling)
        }
        Role::Typedef => matches!(slot, Slot::Name | Slot::Type | Slot::Declaration),
        Role::Function => matches!(slot, Slot::Name | Slot::Declaration | Slot::Origin | Slot::Sibling),
        Role::Import => slot == Slot::Import,
        Role::Inlined | Role::Member | Role::Other => children && slot == Slot::Sibling,
    }
}

/// Whether a walk that looks for code reads an attribute.
fn kept_of_code(role: Role, children: bool, slot: Slot) -> bool {
    match (role, slot) {
        (Role::Function | Role::Inlined, slot) if is_code(slot) => true,
        (Role::Inlined, slot) => slot == Slot::Origin,
        (_, slot) => children && slot == Slot::Sibling,
    }
}

/// Whether it tells of the code of a function or a call, or where a variable is.
fn is_code(slot: Slot) -> bool {
    matches!(
        slot,
        Slot::LowAddress
            | Slot::HighAddress
            | Slot::Ranges
            | Slot::CallFile
            | Slot::CallLine
            | Slot::CallColumn
            | Slot::Storage
    )
}

fn slot(attribute: DwAt) -> Option<Slot> {
    Some(match attribute {
        dw::DW_AT_name => Slot::Name,
        dw::DW_AT_byte_size => Slot::Size,
        dw::DW_AT_type => Slot::Type,
        dw::DW_AT_sibling => Slot::Sibling,
        dw::DW_AT_declaration => Slot::Declaration,
        dw::DW_AT_specification | dw::DW_AT_abstract_origin => Slot::Origin,
        dw::DW_AT_signature => Slot::Signature,
        dw::DW_AT_import => Slot::Import,
        dw::DW_AT_data_member_location => Slot::Location,
        dw::DW_AT_bit_size => Slot::BitSize,
        dw::DW_AT_bit_offset => Slot::BitOffset,
        dw::DW_AT_data_bit_offset => Slot::DataBitOffset,
        dw::DW_AT_count => Slot::Count,
        dw::DW_AT_upper_bound => Slot::UpperBound,
        dw::DW_AT_lower_bound => Slot::LowerBound,
        dw::DW_AT_const_value => Slot::Constant,
        dw::DW_AT_encoding => Slot::Encoding,
        dw::DW_AT_artificial => Slot::Artificial,
        dw::DW_AT_external => Slot::External,
        dw::DW_AT_virtuality => Slot::Virtuality,
        dw::DW_AT_containing_type => Slot::ContainingType,
        dw::DW_AT_discr => Slot::Discriminant,
        dw::DW_AT_discr_value => Slot::DiscriminantValue,
        dw::DW_AT_discr_list => Slot::DiscriminantList,
        dw::DW_AT_alignment => Slot::Alignment,
        dw::DW_AT_prototyped => Slot::Prototyped,
        dw::DW_AT_GNU_vector => Slot::Vector,
        dw::DW_AT_decl_file => Slot::File,
        dw::DW_AT_decl_line => Slot::Line,
        dw::DW_AT_str_offsets_base => Slot::StringOffsets,
        dw::DW_AT_stmt_list => Slot::LineTable,
        dw::DW_AT_comp_dir => Slot::Folder,
        dw::DW_AT_dwo_name | dw::DW_AT_GNU_dwo_name => Slot::SplitName,
        dw::DW_AT_language => Slot::Language,
        dw::DW_AT_low_pc => Slot::LowAddress,
        dw::DW_AT_high_pc => Slot::HighAddress,
        dw::DW_AT_ranges => Slot::Ranges,
        dw::DW_AT_call_file => Slot::CallFile,
        dw::DW_AT_call_line => Slot::CallLine,
        dw::DW_AT_call_column => Slot::CallColumn,
        dw::DW_AT_location => Slot::Storage,
        _ => return None,
    })
}

/// The steps that read those attributes for which `keeps` is true, and skip all others.
fn ops(
    attributes: &[(DwAt, DwForm, i64)],
    encoding: Encoding,
    keeps: impl Fn(Slot) -> bool,
) -> Result<Box<[Op]>, Malformed> {
    let mut ops = Vec::with_capacity(attributes.len());
    for (name, form, value) in attributes {
        match (slot(*name).filter(|slot| keeps(*slot)), size(*form, encoding)?) {
            (Some(slot), _) if *form == dw::DW_FORM_implicit_const => ops.push(Op::Known(slot, *value)),
            (Some(slot @ Slot::DiscriminantValue), Some(size)) if is_data(*form) => ops.push(Op::Raw(slot, size)),
            (Some(slot), _) => ops.push(Op::Keep(slot, *form)),
            (None, Some(0)) => {}
            (None, Some(size)) => match ops.last_mut() {
                Some(Op::Skip(before)) => *before = before.checked_add(size).ok_or(Malformed::Abbreviation)?,
                _ => ops.push(Op::Skip(size)),
            },
            (None, None) => ops.push(Op::Pass(*form)),
        }
    }
    Ok(ops.into())
}

/// Bytes of a value of a form (DWARF 5, 7.5.6); `None` if it has to be read.
fn size(form: DwForm, encoding: Encoding) -> Result<Option<u32>, Malformed> {
    Ok(Some(match form {
        dw::DW_FORM_flag_present | dw::DW_FORM_implicit_const => 0,
        dw::DW_FORM_data1 | dw::DW_FORM_ref1 | dw::DW_FORM_flag | dw::DW_FORM_strx1 | dw::DW_FORM_addrx1 => 1,
        dw::DW_FORM_data2 | dw::DW_FORM_ref2 | dw::DW_FORM_strx2 | dw::DW_FORM_addrx2 => 2,
        dw::DW_FORM_strx3 | dw::DW_FORM_addrx3 => 3,
        dw::DW_FORM_data4 | dw::DW_FORM_ref4 | dw::DW_FORM_strx4 | dw::DW_FORM_addrx4 | dw::DW_FORM_ref_sup4 => 4,
        dw::DW_FORM_data8 | dw::DW_FORM_ref8 | dw::DW_FORM_ref_sig8 | dw::DW_FORM_ref_sup8 => 8,
        dw::DW_FORM_data16 => 16,
        dw::DW_FORM_addr => encoding.address_size.into(),
        dw::DW_FORM_strp
        | dw::DW_FORM_line_strp
        | dw::DW_FORM_strp_sup
        | dw::DW_FORM_sec_offset
        | dw::DW_FORM_GNU_ref_alt
        | dw::DW_FORM_GNU_strp_alt => encoding.offset_size.into(),
        // In DWARF 2 it is as long as an address.
        dw::DW_FORM_ref_addr if encoding.version <= 2 => encoding.address_size.into(),
        dw::DW_FORM_ref_addr => encoding.offset_size.into(),
        dw::DW_FORM_udata
        | dw::DW_FORM_sdata
        | dw::DW_FORM_ref_udata
        | dw::DW_FORM_strx
        | dw::DW_FORM_addrx
        | dw::DW_FORM_loclistx
        | dw::DW_FORM_rnglistx
        | dw::DW_FORM_GNU_addr_index
        | dw::DW_FORM_GNU_str_index
        | dw::DW_FORM_string
        | dw::DW_FORM_block
        | dw::DW_FORM_block1
        | dw::DW_FORM_block2
        | dw::DW_FORM_block4
        | dw::DW_FORM_exprloc
        | dw::DW_FORM_indirect => return Ok(None),
        DwForm(form) => return Err(Malformed::Form(form)),
    }))
}

#[inline]
fn run(
    ops: &[Op],
    bytes: &[u8],
    mut at: usize,
    encoding: Encoding,
    mut keep: impl FnMut(Slot, Value),
) -> Result<usize, Malformed> {
    for op in ops {
        match *op {
            Op::Skip(size) => at += size as usize,
            Op::Pass(form) => pass(form, bytes, &mut at, encoding)?,
            Op::Keep(slot, form) => {
                if let Some(value) = value(form, bytes, &mut at, encoding)? {
                    keep(slot, value);
                }
            }
            Op::Raw(slot, size) => {
                let end = at.checked_add(size as usize).filter(|end| *end <= bytes.len()).ok_or(Malformed::End)?;
                keep(slot, Value::Block(at, end));
                at = end;
            }
            Op::Known(slot, value) => keep(slot, Value::Signed(value)),
        }
    }
    Ok(at)
}

/// Skips a value whose length has to be read.
#[inline]
fn pass(form: DwForm, bytes: &[u8], at: &mut usize, encoding: Encoding) -> Result<(), Malformed> {
    match form {
        dw::DW_FORM_string
        | dw::DW_FORM_block
        | dw::DW_FORM_block1
        | dw::DW_FORM_block2
        | dw::DW_FORM_block4
        | dw::DW_FORM_exprloc
        | dw::DW_FORM_indirect => value(form, bytes, at, encoding).map(drop),
        _ => leb(bytes, at).map(drop),
    }
}

/// Reads a value; `None` for one that nothing here is told by, such as a list of locations.
fn value(form: DwForm, bytes: &[u8], at: &mut usize, encoding: Encoding) -> Result<Option<Value>, Malformed> {
    let big = encoding.big;
    let mut fixed = |size: u8| number(bytes, at, size, big);
    let offset = encoding.offset_size;
    Ok(Some(match form {
        dw::DW_FORM_flag_present => Value::Unsigned(1),
        dw::DW_FORM_flag | dw::DW_FORM_data1 => Value::Unsigned(fixed(1)?),
        dw::DW_FORM_data2 => Value::Unsigned(fixed(2)?),
        dw::DW_FORM_data4 => Value::Unsigned(fixed(4)?),
        dw::DW_FORM_data8 => Value::Unsigned(fixed(8)?),
        dw::DW_FORM_sec_offset => Value::Unsigned(fixed(offset)?),
        dw::DW_FORM_udata => Value::Unsigned(leb(bytes, at)?),
        dw::DW_FORM_sdata => Value::Signed(signed_leb(bytes, at)?),
        dw::DW_FORM_ref1 => Value::Unit(fixed(1)? as usize),
        dw::DW_FORM_ref2 => Value::Unit(fixed(2)? as usize),
        dw::DW_FORM_ref4 => Value::Unit(fixed(4)? as usize),
        dw::DW_FORM_ref8 => Value::Unit(fixed(8)? as usize),
        dw::DW_FORM_ref_udata => Value::Unit(leb(bytes, at)? as usize),
        dw::DW_FORM_ref_addr if encoding.version <= 2 => Value::Section(fixed(encoding.address_size)? as usize),
        dw::DW_FORM_ref_addr => Value::Section(fixed(offset)? as usize),
        dw::DW_FORM_ref_sig8 => Value::Signature(fixed(8)?),
        dw::DW_FORM_ref_sup4 => Value::Alternate(fixed(4)? as usize),
        dw::DW_FORM_ref_sup8 => Value::Alternate(fixed(8)? as usize),
        dw::DW_FORM_GNU_ref_alt => Value::Alternate(fixed(offset)? as usize),
        dw::DW_FORM_strp => Value::Text(Text::Str(fixed(offset)? as usize)),
        dw::DW_FORM_line_strp => Value::Text(Text::Line(fixed(offset)? as usize)),
        dw::DW_FORM_strp_sup | dw::DW_FORM_GNU_strp_alt => Value::Text(Text::Alternate(fixed(offset)? as usize)),
        dw::DW_FORM_strx1 => Value::Text(Text::Index(fixed(1)? as usize)),
        dw::DW_FORM_strx2 => Value::Text(Text::Index(fixed(2)? as usize)),
        dw::DW_FORM_strx3 => Value::Text(Text::Index(fixed(3)? as usize)),
        dw::DW_FORM_strx4 => Value::Text(Text::Index(fixed(4)? as usize)),
        dw::DW_FORM_strx | dw::DW_FORM_GNU_str_index => Value::Text(Text::Index(leb(bytes, at)? as usize)),
        dw::DW_FORM_addr => Value::Address(fixed(encoding.address_size)?),
        dw::DW_FORM_addrx1 => Value::AddressIndex(fixed(1)? as usize),
        dw::DW_FORM_addrx2 => Value::AddressIndex(fixed(2)? as usize),
        dw::DW_FORM_addrx3 => Value::AddressIndex(fixed(3)? as usize),
        dw::DW_FORM_addrx4 => Value::AddressIndex(fixed(4)? as usize),
        dw::DW_FORM_addrx | dw::DW_FORM_GNU_addr_index => Value::AddressIndex(leb(bytes, at)? as usize),
        dw::DW_FORM_rnglistx => Value::RangesIndex(leb(bytes, at)? as usize),
        dw::DW_FORM_string => {
            let start = *at;
            let rest = bytes.get(start..).ok_or(Malformed::End)?;
            *at += memchr::memchr(0, rest).ok_or(Malformed::End)? + 1;
            Value::Text(Text::Here(start))
        }
        dw::DW_FORM_block1 | dw::DW_FORM_block2 | dw::DW_FORM_block4 | dw::DW_FORM_block | dw::DW_FORM_exprloc => {
            let length = match form {
                dw::DW_FORM_block1 => fixed(1)?,
                dw::DW_FORM_block2 => fixed(2)?,
                dw::DW_FORM_block4 => fixed(4)?,
                _ => leb(bytes, at)?,
            };
            let start = *at;
            let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
            *at = end.filter(|end| *end <= bytes.len()).ok_or(Malformed::End)?;
            Value::Block(start, *at)
        }
        dw::DW_FORM_indirect => {
            let form = DwForm(u16::try_from(leb(bytes, at)?).map_err(|_| Malformed::Abbreviation)?);
            // An indirect form that says indirect again would say so for ever.
            if form == dw::DW_FORM_indirect || form == dw::DW_FORM_implicit_const {
                return Err(Malformed::Form(form.0));
            }
            return value(form, bytes, at, encoding);
        }
        _ => {
            match size(form, encoding)? {
                Some(size) => *at += size as usize,
                None => drop(leb(bytes, at)?),
            }
            return Ok(None);
        }
    }))
}
