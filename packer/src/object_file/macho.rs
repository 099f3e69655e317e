//! Mach-O. Addends stand in their fields; a distance counts from the field's end. Constants without a symbol are referred to by
//! their address, which the object file has given them already.

use object::macho;
use object::read::{Object, ObjectSection, RelocationTarget};
use object::{Architecture, RelocationFlags, SectionIndex};

use super::{Reference, Resolved, constant, constants, in_place, refer};

/// Fields of 4 bytes, as the logarithm that relocations have.
const FOUR_BYTES: u8 = 2;

pub(super) fn resolve(reference: &Reference<'_>) -> Result<Option<Resolved>, String> {
    let Reference {
        file, relocation, ..
    } = reference;
    let RelocationFlags::MachO {
        r_type,
        r_pcrel,
        r_length,
    } = relocation.flags()
    else {
        return Err("its kind is unknown".to_owned());
    };
    // Bytes of the instruction behind the field.
    let behind = match (file.architecture(), r_type) {
        (Architecture::X86_64, macho::X86_64_RELOC_BRANCH | macho::X86_64_RELOC_SIGNED) => 0,
        (Architecture::X86_64, macho::X86_64_RELOC_SIGNED_1) => 1,
        (Architecture::X86_64, macho::X86_64_RELOC_SIGNED_2) => 2,
        (Architecture::X86_64, macho::X86_64_RELOC_SIGNED_4) => 4,
        (architecture, other) => {
            return Err(format!(
                "{architecture:?} Mach-O relocation {other:?} is not supported"
            ));
        }
    };
    if !r_pcrel || r_length != FOUR_BYTES || relocation.subtractor().is_some() {
        return Err(format!(
            "a Mach-O relocation {r_type:?} of this form is not supported"
        ));
    }
    let (symbol, addend) = match relocation.target() {
        RelocationTarget::Symbol(index) => {
            let symbol = file.symbol_by_index(index).map_err(|e| e.to_string())?;
            // What is behind the field has been taken off what stands in it.
            (refer(file, &symbol, element)?, in_place(reference)? - 4)
        }
        RelocationTarget::Section(index) => {
            let (symbol, within) = element_at(reference, index, behind)?;
            (symbol, within - 4 - behind)
        }
        _ => return Err("it refers to no symbol".to_owned()),
    };
    Ok(Some(Resolved {
        symbol,
        addend,
        window: 4,
        pc_relative: true,
        bits: None,
    }))
}

/// The constant that a field leads to, and how far into it.
fn element_at(
    reference: &Reference<'_>,
    index: SectionIndex,
    behind: i64,
) -> Result<(String, i64), String> {
    let field = reference.section.address().wrapping_add(reference.offset);
    let to = field.wrapping_add_signed(in_place(reference)? + 4 + behind);
    let fault = |what: &str| format!("it refers to {to:#x}, {what}");
    let section = constants(reference.file, Some(index))?
        .ok_or_else(|| fault("which is no constant, without a symbol"))?;
    let at = to
        .checked_sub(section.address())
        .ok_or_else(|| fault("outside its section"))?;
    let size = element(section.name().unwrap_or("")).ok_or_else(|| {
        let section = section.name().unwrap_or("a section");
        fault(&format!("a constant of {section}, where none has a size"))
    })?;
    let within = at % size;
    Ok((constant(&section, at - within, size)?, within as i64))
}

/// Bytes of each element of a section that has nothing but elements of one size.
fn element(section: &str) -> Option<u64> {
    match section {
        "__literal4" => Some(4),
        "__literal8" => Some(8),
        "__literal16" => Some(16),
        _ => None,
    }
}
