//! Generated code as text: each stencil with what was patched into it, disassembled.

use std::fmt::Write;

use capstone::arch::{BuildsCapstone, BuildsCapstoneSyntax};
use capstone::{Capstone, arch};
use copatch::plugin::{Explanation, FunctionListing, StencilListing};

/// The listing.
///
/// # Errors
/// One line: an architecture that cannot be disassembled, or hexadecimal digits that are none.
pub(crate) fn text(explanation: &Explanation) -> Result<String, String> {
    let disassembler = disassembler(&explanation.arch)?;
    let mut text = String::new();
    for function in &explanation.functions {
        if !text.is_empty() {
            text.push('\n');
        }
        write_function(&mut text, function, &disassembler)?;
    }
    Ok(text)
}

fn disassembler(arch: &str) -> Result<Capstone, String> {
    let builder = Capstone::new();
    let built = match arch {
        "x86_64" => builder
            .x86()
            .mode(arch::x86::ArchMode::Mode64)
            .syntax(arch::x86::ArchSyntax::Intel)
            .build(),
        "aarch64" => builder.arm64().mode(arch::arm64::ArchMode::Arm).build(),
        "riscv64" => builder.riscv().mode(arch::riscv::ArchMode::RiscV64).build(),
        _ => return Err(format!("no disassembler for {arch}")),
    };
    built.map_err(|error| format!("disassembler for {arch}: {error}"))
}

fn write_function(
    text: &mut String,
    function: &FunctionListing,
    disassembler: &Capstone,
) -> Result<(), String> {
    let FunctionListing {
        index,
        name,
        offset,
        stencils,
    } = function;
    let bytes: usize = stencils.iter().map(|stencil| stencil.bytes.len() / 2).sum();
    line(
        text,
        format_args!("function {index}: {name} ({bytes} bytes at {offset:#x})"),
    );
    for stencil in stencils {
        write_stencil(text, stencil, disassembler)?;
    }
    Ok(())
}

fn write_stencil(
    text: &mut String,
    stencil: &StencilListing,
    disassembler: &Capstone,
) -> Result<(), String> {
    let StencilListing {
        offset,
        op,
        form,
        bytes,
        holes,
    } = stencil;
    line(
        text,
        format_args!("  {}", format!("{op} {form}").trim_end()),
    );
    for hole in holes {
        let value = match hole.what.as_str() {
            // Places in the code are read as such.
            what if is_place(what) => format!("{:#x}", hole.value),
            _ => hole.value.to_string(),
        };
        line(
            text,
            format_args!("      hole at +{}: {} = {value}", hole.offset, hole.what),
        );
    }
    let code = unhex(bytes)
        .ok_or_else(|| format!("the code of {op} at {offset:#x} is no hexadecimal number"))?;
    let instructions = disassembler
        .disasm_all(&code, *offset)
        .map_err(|error| error.to_string())?;
    let mut done = 0;
    for instruction in instructions.iter() {
        let words = [instruction.mnemonic(), instruction.op_str()].map(Option::unwrap_or_default);
        let digits = hex(instruction.bytes());
        line(
            text,
            format_args!(
                "    {:6x}  {digits:20}  {}",
                instruction.address(),
                words.join(" ").trim_end()
            ),
        );
        done += instruction.bytes().len();
    }
    // Tables are no instructions.
    for (index, word) in code[done.min(code.len())..].chunks(4).enumerate() {
        line(
            text,
            format_args!(
                "    {:6x}  {}",
                *offset as usize + done + 4 * index,
                hex(word)
            ),
        );
    }
    Ok(())
}

/// Whether a hole's value is an offset in the code.
fn is_place(what: &str) -> bool {
    ["branch", "function", "table", "trap", "constant"]
        .iter()
        .any(|word| what.starts_with(word))
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{arguments}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| Some((digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?) as u8))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use copatch::plugin::HoleListing;

    fn explanation(arch: &str, bytes: &str) -> Explanation {
        let holes = vec![
            HoleListing {
                offset: 2,
                what: "i32 constant".to_owned(),
                value: 5,
            },
            HoleListing {
                offset: 4,
                what: "branch target".to_owned(),
                value: 64,
            },
        ];
        let stencil = StencilListing {
            offset: 16,
            op: "i32.add".to_owned(),
            form: "ri>r".to_owned(),
            bytes: bytes.to_owned(),
            holes,
        };
        let function = FunctionListing {
            index: 1,
            name: "f".to_owned(),
            offset: 16,
            stencils: vec![stencil],
        };
        Explanation {
            arch: arch.to_owned(),
            functions: vec![function],
        }
    }

    #[test]
    fn a_stencil_is_shown_with_its_holes_and_instructions() {
        let expected = "\
function 1: f (4 bytes at 0x10)
  i32.add ri>r
      hole at +2: i32 constant = 5
      hole at +4: branch target = 0x40
        10  83c005                add eax, 5
        13  c3                    ret
";
        assert_eq!(
            text(&explanation("x86_64", "83c005c3")).as_deref(),
            Ok(expected)
        );
    }

    #[test]
    fn every_architecture_with_packs_is_disassembled() {
        assert!(
            text(&explanation("aarch64", "00040011"))
                .unwrap()
                .contains("add w0, w0, #1")
        );
        assert!(
            text(&explanation("riscv64", "1b051500"))
                .unwrap()
                .contains("addiw a0, a0, 1")
        );
        assert_eq!(
            text(&explanation("pdp11", "")),
            Err("no disassembler for pdp11".to_owned())
        );
    }

    #[test]
    fn bytes_that_are_no_instructions_are_shown_as_words() {
        // The second byte begins no instruction in 64-bit code.
        assert!(
            text(&explanation("x86_64", "c306"))
                .unwrap()
                .ends_with("    11  06\n")
        );
        assert!(text(&explanation("x86_64", "c")).is_err());
        assert!(text(&explanation("x86_64", "xx")).is_err());
    }
}
