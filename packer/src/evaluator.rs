//! Evaluators: one function an operation, by the C convention, with its constants right behind it, so that the bytes
//! run wherever they lie.

use copatch_spec::isa::InstructionSet;

use crate::clang::{Clang, Unit};
use crate::error::BuildError;
use crate::object_file::{self, ObjectError, pool_constant};
use crate::source;
use crate::stencil::RawStencil;

/// Names of evaluators in generated C: this and the operation's number.
const PREFIX: &str = "evaluator_";

/// Compiles the evaluators, one an operation; `None` for operations that only steer control.
///
/// # Errors
/// If clang refuses, or if an evaluator refers to anything but its own constants.
pub fn build(isa: &InstructionSet, clang: &Clang) -> Result<Vec<Option<Vec<u8>>>, BuildError> {
    let mut text = source::prelude(isa);
    for (number, op) in isa.ops.iter().enumerate() {
        source::evaluator(&mut text, &format!("{PREFIX}{number}"), op);
    }
    let unit = Unit {
        name: "evaluators.c".to_owned(),
        text,
    };
    let units = clang.compile(vec![unit], "evaluators", |unit, object| {
        let mut evaluators = vec![None; isa.ops.len()];
        for function in object_file::read(&unit.name, object)? {
            let Some(number) = function.name.strip_prefix(PREFIX) else {
                continue;
            };
            let slot = number
                .parse::<usize>()
                .ok()
                .and_then(|number| evaluators.get_mut(number).zip(isa.ops.get(number)));
            if let Some((slot, op)) = slot {
                *slot = Some(link(function).map_err(|what| ObjectError {
                    unit: unit.name.clone(),
                    what: format!("the evaluator of {}: {what}", op.name),
                })?);
            }
        }
        Ok::<_, BuildError>(evaluators)
    })?;
    Ok(units.into_iter().flatten().collect())
}

/// Puts the constants of a function behind it and resolves the references to them.
fn link(function: RawStencil) -> Result<Vec<u8>, String> {
    let mut code = function.code;
    let mut placed: Vec<(Vec<u8>, usize)> = Vec::new();
    for relocation in &function.relocations {
        let constant = pool_constant(&relocation.symbol).ok_or_else(|| {
            format!(
                "it refers to {} at {:#x}; a body may refer to nothing outside itself but constants",
                relocation.symbol, relocation.offset
            )
        })?;
        if !relocation.pc_relative {
            return Err(format!(
                "its reference at {:#x} depends on where it lies",
                relocation.offset
            ));
        }
        let known = placed.iter().find(|(bytes, _)| *bytes == constant);
        let at = known.map_or_else(
            || {
                code.len()
                    .next_multiple_of(copatch_spec::limits::CONSTANT_ALIGNMENT)
            },
            |(_, at)| *at,
        );
        if known.is_none() {
            code.resize(at, 0);
            code.extend_from_slice(&constant);
            placed.push((constant, at));
        }
        relocation
            .apply(&mut code, 0, at as i64)
            .ok_or_else(|| format!("its reference at {:#x} does not reach", relocation.offset))?;
    }
    Ok(code)
}
