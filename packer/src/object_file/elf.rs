//! ELF.

use object::elf;
use object::read::{Object, ObjectSection, ObjectSymbol, RelocationTarget};
use object::{Architecture, File, RelocationFlags, Section, SymbolKind};

use super::{Reference, Resolved, constant, constants, distance_to_next, refer};
use crate::bits;
use crate::stencil::Bits;

pub(super) fn resolve(reference: &Reference<'_>) -> Result<Option<Resolved>, String> {
    let Reference {
        file,
        section,
        offset,
        relocation,
    } = reference;
    if is_lower_half(file, relocation.flags()) {
        let upper = offset.checked_sub(4).and_then(|at| upper_half(section, at));
        if upper.is_none() || symbol_address(file, relocation.target()) != upper {
            return Err("the lower half of a distance is not behind its upper half".to_owned());
        }
        return Ok(None);
    }
    let (symbol, addend) = target(file, relocation.target(), relocation.addend())?;
    let (window, pc_relative, bits) =
        kind(file, relocation.flags()).map_err(|what| format!("to {symbol}: {what}"))?;
    Ok(Some(Resolved {
        symbol,
        addend,
        window,
        pc_relative,
        bits,
    }))
}

/// riscv64 refers to the address of the `auipc` that has the other half; both are one window.
fn is_lower_half(file: &File<'_>, flags: RelocationFlags) -> bool {
    let lower = RelocationFlags::Elf {
        r_type: elf::R_RISCV_PCREL_LO12_I,
    };
    file.architecture() == Architecture::Riscv64 && flags == lower
}

/// The address of an `auipc` with a relocation at that offset.
fn upper_half(section: &Section<'_, '_>, at: u64) -> Option<u64> {
    let upper = RelocationFlags::Elf {
        r_type: elf::R_RISCV_PCREL_HI20,
    };
    let mut relocations = section.relocations();
    relocations
        .any(|(offset, relocation)| offset == at && relocation.flags() == upper)
        .then_some(section.address() + at)
}

fn symbol_address(file: &File<'_>, target: RelocationTarget) -> Option<u64> {
    let RelocationTarget::Symbol(index) = target else {
        return None;
    };
    Some(file.symbol_by_index(index).ok()?.address())
}

/// The name of what a relocation refers to, an undefined symbol or a constant, and what is added to its address.
fn target(file: &File<'_>, target: RelocationTarget, addend: i64) -> Result<(String, i64), String> {
    let RelocationTarget::Symbol(index) = target else {
        return Err("it refers to no symbol".to_owned());
    };
    let symbol = file.symbol_by_index(index).map_err(|e| e.to_string())?;
    // Where addends are what they seem, and not relative to an instruction's end, they tell constants without symbols apart.
    if symbol.kind() == SymbolKind::Section
        && file.architecture() == Architecture::Aarch64
        && let Some(section) = constants(file, symbol.section_index())?
    {
        let start = (symbol.address() - section.address()).wrapping_add_signed(addend);
        let size = element_size(section.name().unwrap_or(""))
            .or_else(|| distance_to_next(file, &section, start))
            .ok_or_else(|| format!("the constant at {start:#x} has no size"))?;
        return Ok((constant(&section, start, size)?, 0));
    }
    Ok((refer(file, &symbol, element_size)?, addend))
}

/// `.rodata.cst16` has elements of 16 bytes, and so has `.srodata.cst16`, where riscv64 keeps small data.
fn element_size(section: &str) -> Option<u64> {
    let name = section
        .strip_prefix(".rodata")
        .or(section.strip_prefix(".srodata"))?;
    name.strip_prefix(".cst")?.parse().ok()
}

/// Bytes of the window, whether it is relative to its own address, and its bits.
fn kind(
    file: &File<'_>,
    flags: RelocationFlags,
) -> Result<(u8, bool, Option<&'static Bits>), String> {
    match (file.architecture(), flags) {
        (Architecture::X86_64, RelocationFlags::Elf { r_type }) => match r_type {
            elf::R_X86_64_PC32 | elf::R_X86_64_PLT32 => Ok((4, true, None)),
            elf::R_X86_64_32S => Ok((4, false, None)),
            elf::R_X86_64_64 => Ok((8, false, None)),
            elf::R_X86_64_PC8 => Ok((1, true, None)),
            other => Err(format!("x86-64 ELF relocation {other} is not supported")),
        },
        (Architecture::Aarch64, RelocationFlags::Elf { r_type }) => match r_type {
            elf::R_AARCH64_JUMP26 | elf::R_AARCH64_CALL26 => {
                Ok((4, true, Some(&bits::aarch64::BRANCH26)))
            }
            elf::R_AARCH64_ADR_PREL_LO21 => Ok((4, true, Some(&bits::aarch64::ADR21))),
            elf::R_AARCH64_LD_PREL_LO19 => Ok((4, true, Some(&bits::aarch64::LOAD19))),
            elf::R_AARCH64_CONDBR19 => Ok((4, true, Some(&bits::aarch64::BRANCH19))),
            elf::R_AARCH64_MOVW_UABS_G0_NC => Ok((4, false, Some(&bits::aarch64::MOVW_LOW))),
            elf::R_AARCH64_MOVW_PREL_G0_NC => Ok((4, true, Some(&bits::aarch64::MOVW_LOW))),
            elf::R_AARCH64_MOVW_PREL_G1_NC => Ok((4, true, Some(&bits::aarch64::MOVW_NEAR_HIGH))),
            elf::R_AARCH64_MOVW_UABS_G1 => Ok((4, false, Some(&bits::aarch64::MOVW_HIGH))),
            other => Err(format!("aarch64 ELF relocation {other} is not supported")),
        },
        (Architecture::Riscv64, RelocationFlags::Elf { r_type }) => match r_type {
            elf::R_RISCV_CALL | elf::R_RISCV_CALL_PLT => Ok((8, true, Some(&bits::riscv64::CALL))),
            elf::R_RISCV_PCREL_HI20 => Ok((8, true, Some(&bits::riscv64::NEAR))),
            elf::R_RISCV_HI20 => Ok((4, false, Some(&bits::riscv64::UPPER20))),
            elf::R_RISCV_LO12_I => Ok((4, false, Some(&bits::riscv64::LOWER12))),
            other => Err(format!("riscv64 ELF relocation {other} is not supported")),
        },
        (architecture, flags) => Err(format!("{flags:?} of {architecture:?} is not supported")),
    }
}
