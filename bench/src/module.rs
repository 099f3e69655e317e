//! The module whose compilation is measured: a file, or one made up.

use std::path::Path;

use wasm_encoder::{CodeSection, RawSection, SectionId};
use wasmparser::{Parser, Payload};

use crate::contender::Result;

/// A module to compile.
pub struct Module {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// The least size of a made-up module, in bytes.
const SIZE: usize = 4 << 20;

/// A module from a file.
pub fn read(file: &Path) -> Result<Module> {
    let bytes = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let name = file
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    Ok(Module { name, bytes })
}

/// A module of some megabytes that has the functions of `small` many times over.
pub fn synthetic(small: &[u8]) -> Result<Module> {
    let mut once = 0;
    for payload in Parser::new(0).parse_all(small) {
        if let Payload::CodeSectionEntry(body) = payload? {
            once += slice(small, body.range()).len();
        }
    }
    repeated(small, SIZE.div_ceil(once.max(1)))
}

/// A module that has the functions of `small` so many times. A copy calls the first copies of the functions that its original
/// calls, so that nothing has to be rewritten.
pub fn repeated(small: &[u8], copies: usize) -> Result<Module> {
    let mut types = Vec::new();
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(small) {
        match payload? {
            Payload::FunctionSection(reader) => {
                for ty in reader {
                    types.push(ty?);
                }
            }
            Payload::CodeSectionEntry(body) => bodies.push(slice(small, body.range())),
            _ => {}
        }
    }
    let mut functions = wasm_encoder::FunctionSection::new();
    let mut code = CodeSection::new();
    for _ in 0..copies {
        for ty in &types {
            functions.function(*ty);
        }
        for body in &bodies {
            code.raw(body);
        }
    }
    let mut module = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(small) {
        let payload = payload?;
        if let Payload::CodeSectionStart { .. } = payload {
            module.section(&code);
        } else if let Payload::FunctionSection(_) = payload {
            module.section(&functions);
        } else if let Some((id, range)) = payload.as_section()
            && id != SectionId::Custom as u8
        {
            module.section(&RawSection {
                id,
                data: slice(small, range),
            });
        }
    }
    Ok(Module {
        name: format!("synthetic, {} functions", copies * bodies.len()),
        bytes: module.finish(),
    })
}

fn slice<N: TryInto<usize> + Copy>(bytes: &[u8], range: std::ops::Range<N>) -> &[u8] {
    let at = |n: N| n.try_into().unwrap_or(usize::MAX);
    bytes
        .get(at(range.start)..at(range.end))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_synthetic_module_is_valid_and_large() -> Result<()> {
        let module = synthetic(&crate::kernels::bytes("fib")?)?;
        assert!(module.bytes.len() >= SIZE);
        wasmparser::Validator::new().validate_all(&module.bytes)?;
        Ok(())
    }
}
