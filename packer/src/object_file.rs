//! Reads what clang wrote: functions, their relocations, and the constants they refer to.
//!
//! Relocations are matched by their number in the format's specification, never by a library's generic kinds, and
//! one that is not listed here is an error.

use std::collections::BTreeMap;

use object::read::{Object, ObjectSection, ObjectSymbol, RelocationTarget};
use object::{RelocationFlags, SectionKind, SymbolKind, elf};

use crate::bits;
use crate::stencil::{Bits, RawStencil, Relocation, hole};

/// Why an object file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{unit}: {what}")]
pub struct ObjectError {
    /// The translation unit.
    pub unit: String,
    /// What is wrong, with the function and offset where there is one.
    pub what: String,
}

/// The symbol of a reference to a constant: its bytes stand in the name, so that equal constants have equal names in
/// every translation unit and need a place only once the pack's pool is laid out.
pub fn pool_symbol(constant: &[u8]) -> String {
    use std::fmt::Write;
    let mut name = format!("{}:", hole::POOL);
    for byte in constant {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// The constant that a symbol stands for, if it is a reference to one.
pub fn pool_constant(symbol: &str) -> Option<Vec<u8>> {
    let digits = symbol.strip_prefix(hole::POOL)?.strip_prefix(':')?;
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect()
}

/// The functions of an object file, in ascending order of name.
///
/// # Errors
/// On anything that is not understood.
pub fn read(unit: &str, bytes: &[u8]) -> Result<Vec<RawStencil>, ObjectError> {
    let fault = |what: String| ObjectError {
        unit: unit.to_owned(),
        what,
    };
    let file = object::File::parse(bytes).map_err(|error| fault(error.to_string()))?;
    let mut stencils = BTreeMap::new();
    for section in file.sections().filter(|s| s.kind() == SectionKind::Text) {
        let data = section.data().map_err(|error| fault(error.to_string()))?;
        let mut functions: Vec<(usize, usize, &str)> = Vec::new();
        for symbol in file.symbols() {
            if symbol.kind() == SymbolKind::Text
                && symbol.section_index() == Some(section.index())
                && symbol.size() > 0
            {
                let name = symbol.name().map_err(|error| fault(error.to_string()))?;
                let start = (symbol.address() - section.address()) as usize;
                functions.push((start, start + symbol.size() as usize, name));
            }
        }
        functions.sort_unstable();
        let mut relocations: Vec<(usize, Relocation)> = Vec::new();
        for (offset, relocation) in section.relocations() {
            let place = || {
                let within = |(start, end, _): &&(usize, usize, &str)| {
                    (*start..*end).contains(&(offset as usize))
                };
                let function = functions.iter().find(within);
                let name = function.map_or("no function", |(_, _, name)| name);
                format!("relocation at {offset:#x}, in {name}")
            };
            if is_lower_half(&file, relocation.flags()) {
                let upper = offset
                    .checked_sub(4)
                    .and_then(|at| upper_half(&section, at));
                if upper.is_none() || symbol_address(&file, relocation.target()) != upper {
                    let what = "the lower half of a distance is not behind its upper half";
                    return Err(fault(format!("{}: {what}", place())));
                }
                continue;
            }
            let (symbol, addend) = target(&file, relocation.target(), relocation.addend())
                .map_err(|what| fault(format!("{}: {what}", place())))?;
            let (window, pc_relative, bits) = kind(&file, relocation.flags())
                .map_err(|what| fault(format!("{} to {symbol}: {what}", place())))?;
            relocations.push((
                offset as usize,
                Relocation {
                    offset: offset as usize,
                    symbol,
                    window,
                    pc_relative,
                    addend,
                    bits,
                },
            ));
        }
        relocations.sort();
        for (start, end, name) in functions {
            let code = data
                .get(start..end)
                .ok_or_else(|| fault(format!("{name} lies outside its section")))?;
            let first = relocations.partition_point(|(offset, _)| *offset < start);
            let last = relocations.partition_point(|(offset, _)| *offset < end);
            let relocations = relocations[first..last]
                .iter()
                .map(|(offset, relocation)| Relocation {
                    offset: offset - start,
                    ..relocation.clone()
                })
                .collect();
            stencils.insert(
                name.to_owned(),
                RawStencil {
                    name: name.to_owned(),
                    code: code.to_vec(),
                    relocations,
                },
            );
        }
    }
    Ok(stencils.into_values().collect())
}

/// riscv64 refers to the address of the `auipc` that has the other half; both are one window.
fn is_lower_half(file: &object::File<'_>, flags: RelocationFlags) -> bool {
    let lower = RelocationFlags::Elf {
        r_type: elf::R_RISCV_PCREL_LO12_I,
    };
    file.architecture() == object::Architecture::Riscv64 && flags == lower
}

/// The address of an `auipc` with a relocation at that offset.
fn upper_half(section: &object::Section<'_, '_>, at: u64) -> Option<u64> {
    let upper = RelocationFlags::Elf {
        r_type: elf::R_RISCV_PCREL_HI20,
    };
    let mut relocations = section.relocations();
    relocations
        .any(|(offset, relocation)| offset == at && relocation.flags() == upper)
        .then_some(section.address() + at)
}

fn symbol_address(file: &object::File<'_>, target: RelocationTarget) -> Option<u64> {
    let RelocationTarget::Symbol(index) = target else {
        return None;
    };
    Some(file.symbol_by_index(index).ok()?.address())
}

/// The name of what a relocation refers to, an undefined symbol or a constant, and what is added to its address.
fn target(
    file: &object::File<'_>,
    target: RelocationTarget,
    addend: i64,
) -> Result<(String, i64), String> {
    let RelocationTarget::Symbol(index) = target else {
        return Err("it refers to no symbol".to_owned());
    };
    let symbol = file
        .symbol_by_index(index)
        .map_err(|error| error.to_string())?;
    let name = symbol.name().map_err(|error| error.to_string())?;
    let Some(section) = symbol.section_index() else {
        return Ok((name.to_owned(), addend));
    };
    let section = file
        .section_by_index(section)
        .map_err(|error| error.to_string())?;
    if section.kind() != SectionKind::ReadOnlyData && section.kind() != SectionKind::ReadOnlyString
    {
        return Ok((name.to_owned(), addend));
    }
    if section.relocations().next().is_some() {
        return Err(format!("the constant {name} holds addresses"));
    }
    let mut start = symbol.address() - section.address();
    let mut addend = addend;
    if symbol.kind() == SymbolKind::Section {
        // Where addends are what they seem, and not relative to an instruction's end, they tell constants apart.
        if file.architecture() != object::Architecture::Aarch64 {
            return Err(format!(
                "a constant in {} at {addend:#x} has no symbol",
                section.name().unwrap_or("a section")
            ));
        }
        start = start.wrapping_add_signed(addend);
        addend = 0;
    }
    // A compiler's own constants have no size, but lie in sections of elements of one size, or end where the next one begins.
    let size = match symbol.size() {
        0 => element_size(section.name().unwrap_or(""))
            .or_else(|| distance_to_next(file, &section, start))
            .ok_or_else(|| format!("the constant {name} has no size"))?,
        size => size,
    };
    let data = section
        .data_range(section.address() + start, size)
        .map_err(|error| error.to_string())?
        .ok_or_else(|| format!("the constant {name} lies outside its section"))?;
    Ok((pool_symbol(data), addend))
}

/// `.rodata.cst16` has elements of 16 bytes, and so has `.srodata.cst16`, where riscv64 keeps small data.
fn element_size(section: &str) -> Option<u64> {
    let name = section
        .strip_prefix(".rodata")
        .or(section.strip_prefix(".srodata"))?;
    name.strip_prefix(".cst")?.parse().ok()
}

/// Bytes from `start` of a section to the next symbol in it, or to its end.
fn distance_to_next(
    file: &object::File<'_>,
    section: &object::Section<'_, '_>,
    start: u64,
) -> Option<u64> {
    let within = file
        .symbols()
        .filter(|symbol| symbol.section_index() == Some(section.index()))
        .map(|symbol| symbol.address() - section.address());
    let next = within.filter(|at| *at > start).min();
    next.unwrap_or(section.size())
        .checked_sub(start)
        .filter(|size| *size > 0)
}

/// Bytes of the window, whether it is relative to its own address, and its bits.
fn kind(
    file: &object::File<'_>,
    flags: RelocationFlags,
) -> Result<(u8, bool, Option<&'static Bits>), String> {
    use object::Architecture;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_comes_back_from_its_symbol() {
        let bytes = [0, 1, 0xfe, 0x80];
        assert_eq!(pool_constant(&pool_symbol(&bytes)), Some(bytes.to_vec()));
        assert_eq!(pool_constant(hole::TABLE), None);
    }
}
