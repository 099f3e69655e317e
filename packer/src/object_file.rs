//! Reads what clang wrote: functions, their relocations, and the constants they refer to.
//!
//! Relocations are matched by their number in the format's specification, never by a library's generic kinds, and
//! one that is not listed is an error. There is a module for each format; all of them bring relocations to one form, in which
//! the field is the symbol's address and the addend, less the field's own address where it is relative.

mod coff;
mod elf;
mod macho;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use object::read::{Object, ObjectSection, ObjectSymbol};
use object::{BinaryFormat, File, Section, SectionKind, Symbol, SymbolKind};

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
    let file = File::parse(bytes).map_err(|error| fault(error.to_string()))?;
    let resolve: Resolve = match file.format() {
        BinaryFormat::Elf => elf::resolve,
        BinaryFormat::Coff => coff::resolve,
        BinaryFormat::MachO => macho::resolve,
        other => return Err(fault(format!("object files of {other:?} are not read"))),
    };
    let mut stencils = BTreeMap::new();
    for section in file.sections().filter(|s| s.kind() == SectionKind::Text) {
        let data = section.data().map_err(|error| fault(error.to_string()))?;
        let functions = functions(&file, &section).map_err(fault)?;
        let mut relocations: Vec<Relocation> = Vec::new();
        for (offset, relocation) in section.relocations() {
            let place = || {
                let within = |function: &&Function| {
                    (function.start..function.end).contains(&(offset as usize))
                };
                let function = functions.iter().find(within);
                let function = function.map_or("no function", |function| function.name.as_str());
                let section = section.name().unwrap_or("a section");
                format!("relocation in {section} at {offset:#x}, in {function}")
            };
            let reference = Reference {
                file: &file,
                section: &section,
                offset,
                relocation: &relocation,
            };
            let resolved =
                resolve(&reference).map_err(|what| fault(format!("{}: {what}", place())))?;
            relocations.extend(resolved.map(|resolved| Relocation {
                offset: offset as usize,
                symbol: resolved.symbol,
                window: resolved.window,
                pc_relative: resolved.pc_relative,
                addend: resolved.addend,
                bits: resolved.bits,
            }));
        }
        relocations.sort();
        for Function { start, end, name } in functions {
            let code = data
                .get(start..end)
                .ok_or_else(|| fault(format!("{name} lies outside its section")))?;
            let within = |relocation: &&Relocation| (start..end).contains(&relocation.offset);
            let relocations = relocations
                .iter()
                .filter(within)
                .map(|relocation| Relocation {
                    offset: relocation.offset - start,
                    ..relocation.clone()
                });
            let stencil = RawStencil {
                name: name.clone(),
                code: code.to_vec(),
                relocations: relocations.collect(),
            };
            stencils.insert(name, stencil);
        }
    }
    Ok(stencils.into_values().collect())
}

/// A relocation as the object file has it.
struct Reference<'a> {
    file: &'a File<'a>,
    section: &'a Section<'a, 'a>,
    /// Of its field, from the section's start.
    offset: u64,
    relocation: &'a object::Relocation,
}

/// A relocation in the form that all formats have in common.
struct Resolved {
    /// An undefined symbol, or a constant by its bytes.
    symbol: String,
    addend: i64,
    window: u8,
    pc_relative: bool,
    bits: Option<&'static Bits>,
}

/// How a format's relocations are read; `None` for one that another one includes.
type Resolve = fn(&Reference<'_>) -> Result<Option<Resolved>, String>;

/// What of a section a function is: bytes `[start, end)`.
struct Function {
    start: usize,
    end: usize,
    name: String,
}

/// The functions of a section in ascending order. Only ELF notes their size: elsewhere they end where the next one begins, and
/// have behind them what fills the gap, which is not reached and so is no part of a stencil.
fn functions(file: &File<'_>, section: &Section<'_, '_>) -> Result<Vec<Function>, String> {
    let sized = file.format() == BinaryFormat::Elf;
    let mut functions = Vec::new();
    for symbol in file.symbols() {
        if symbol.kind() == SymbolKind::Text
            && symbol.section_index() == Some(section.index())
            && (symbol.size() > 0 || !sized)
        {
            let start = (symbol.address() - section.address()) as usize;
            functions.push(Function {
                start,
                end: start + symbol.size() as usize,
                name: name_of(file, &symbol)?,
            });
        }
    }
    functions.sort_unstable_by_key(|function| function.start);
    if !sized {
        let mut end = section.size() as usize;
        for function in functions.iter_mut().rev() {
            function.end = end;
            end = function.start;
        }
    }
    Ok(functions)
}

/// A symbol's name in C. Mach-O has an underscore before it.
fn name_of(file: &File<'_>, symbol: &Symbol<'_, '_>) -> Result<String, String> {
    let name = symbol.name().map_err(|error| error.to_string())?;
    if file.format() != BinaryFormat::MachO {
        return Ok(name.to_owned());
    }
    let stripped = name.strip_prefix('_').map(str::to_owned);
    stripped.ok_or_else(|| format!("the symbol {name} has no underscore before it"))
}

/// The number that stands in a field of 32 bits, where formats keep addends.
fn in_place(reference: &Reference<'_>) -> Result<i64, String> {
    let data = reference.section.data().map_err(|e| e.to_string())?;
    let at = usize::try_from(reference.offset).ok();
    let field = at.and_then(|at| data.get(at..)?.first_chunk::<4>());
    let field = field.ok_or("its field lies outside the section")?;
    Ok(i64::from(i32::from_le_bytes(*field)))
}

/// The symbol that stands for what a relocation refers to by that symbol: itself, or the bytes of the constant that it names.
/// A compiler's own constants have no size: `element` gives it where they lie in a section of elements of one size; others end
/// where the next symbol is.
fn refer(
    file: &File<'_>,
    symbol: &Symbol<'_, '_>,
    element: impl Fn(&str) -> Option<u64>,
) -> Result<String, String> {
    let Some(section) = constants(file, symbol.section_index())? else {
        return name_of(file, symbol);
    };
    let start = symbol.address() - section.address();
    if symbol.kind() == SymbolKind::Section {
        let section = section.name().unwrap_or("a section");
        return Err(format!("a constant in {section} has no symbol"));
    }
    let size = match symbol.size() {
        0 => element(section.name().unwrap_or(""))
            .or_else(|| distance_to_next(file, &section, start))
            .ok_or_else(|| format!("the constant {} has no size", symbol.name().unwrap_or("?")))?,
        size => size,
    };
    constant(&section, start, size)
}

/// The section, if it is there and holds constants.
fn constants<'a>(
    file: &'a File<'a>,
    index: Option<object::SectionIndex>,
) -> Result<Option<Section<'a, 'a>>, String> {
    let Some(index) = index else {
        return Ok(None);
    };
    let section = file.section_by_index(index).map_err(|e| e.to_string())?;
    let kinds = [SectionKind::ReadOnlyData, SectionKind::ReadOnlyString];
    Ok(kinds.contains(&section.kind()).then_some(section))
}

/// The symbol of the constant of that size at an offset of its section.
fn constant(section: &Section<'_, '_>, start: u64, size: u64) -> Result<String, String> {
    let fault = |what: &str| {
        let section = section.name().unwrap_or("a section");
        format!("the constant at {start:#x} of {section} {what}")
    };
    if section.relocations().next().is_some() {
        return Err(fault("may hold addresses"));
    }
    let data = section
        .data_range(section.address() + start, size)
        .map_err(|error| error.to_string())?
        .ok_or_else(|| fault("lies outside its section"))?;
    Ok(pool_symbol(data))
}

/// Bytes from `start` of a section to the next symbol in it, or to its end.
fn distance_to_next(file: &File<'_>, section: &Section<'_, '_>, start: u64) -> Option<u64> {
    let within = file
        .symbols()
        .filter(|symbol| symbol.section_index() == Some(section.index()))
        .map(|symbol| symbol.address() - section.address());
    let next = within.filter(|at| *at > start).min();
    next.unwrap_or(section.size())
        .checked_sub(start)
        .filter(|size| *size > 0)
}
