//! Disassembly by capstone: the judge of emitted bytes, and what people read in errors and listings.

use std::fmt::Write;

use capstone::Insn;
use capstone::prelude::*;

use crate::stencil::Relocation;

/// A disassembler for an architecture, by the name in its triple.
///
/// # Errors
/// When the architecture is not one that the packer knows, or capstone was built without it.
pub fn disassembler(arch: &str, detail: bool) -> Result<Capstone, String> {
    let built = match arch {
        "x86_64" => Capstone::new()
            .x86()
            .mode(arch::x86::ArchMode::Mode64)
            .detail(detail)
            .build(),
        "aarch64" => Capstone::new()
            .arm64()
            .mode(arch::arm64::ArchMode::Arm)
            .detail(detail)
            .build(),
        "riscv64" => Capstone::new()
            .riscv()
            .mode(arch::riscv::ArchMode::RiscV64)
            .detail(detail)
            .build(),
        _ => return Err(format!("there is no disassembler for {arch}")),
    };
    built.map_err(|error| format!("capstone for {arch}: {error}"))
}

/// One line an instruction: offset, bytes, text, and the holes within it. Bytes that do not decode are listed as data.
pub fn listing(arch: &str, code: &[u8], holes: &[Relocation]) -> String {
    let mut text = String::new();
    let Ok(disassembler) = disassembler(arch, false) else {
        return format!("  {code:02x?}\n");
    };
    let Ok(instructions) = disassembler.disasm_all(code, 0) else {
        return format!("  {code:02x?}\n");
    };
    let mut end = 0;
    for instruction in instructions.iter() {
        let start = instruction.address() as usize;
        end = start + instruction.len();
        let bytes: Vec<String> = instruction
            .bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let _ = write!(
            text,
            "  {start:4x}: {:32} {} {}",
            bytes.join(" "),
            instruction.mnemonic().unwrap_or("?"),
            instruction.op_str().unwrap_or("")
        );
        for hole in holes {
            if (start..end).contains(&hole.offset) {
                let _ = write!(text, "  ; {:x}: {}", hole.offset, hole.symbol);
            }
        }
        text.push('\n');
    }
    if let Some(rest) = code.get(end..)
        && !rest.is_empty()
    {
        let _ = writeln!(text, "  {end:4x}: {rest:02x?} does not decode");
    }
    text
}

/// An instruction in words.
pub fn text(instruction: &Insn<'_>) -> String {
    let part = |text: Option<&str>| text.unwrap_or("").to_owned();
    format!(
        "{} {}",
        part(instruction.mnemonic()),
        part(instruction.op_str())
    )
}
