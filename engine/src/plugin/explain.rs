//! Generated code, stencil by stencil, with what was patched into each hole.

use std::collections::HashMap;

use copatch_spec::isa::Operation;
use copatch_spec::pack::PackView;
use copatch_spec::pack::tables::HoleRow;
use copatch_spec::patch::{Field, PatchKind, Source, fill};
use copatch_spec::types::Place;
use copatch_spec::variants::{Form, FormKey, Outcome, Value};
use serde::{Deserialize, Serialize};

use crate::buffer::Emitted;
use crate::pack::Pack;
use crate::program::Program;

/// Generated code of a program, for people to read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The architecture, as in a target triple.
    pub arch: String,
    /// The functions in the order of their code.
    pub functions: Vec<FunctionListing>,
}

/// The code of one function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionListing {
    /// Its number in the program.
    pub index: u32,
    /// Its name in its source or format.
    pub name: String,
    /// Where its code begins, in bytes from the start of all code.
    pub offset: u64,
    /// Its stencils in order; also trap stubs and branch tables, whose form is empty.
    pub stencils: Vec<StencilListing>,
}

/// One stencil as it was emitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StencilListing {
    /// Where it begins, in bytes from the start of all code.
    pub offset: u64,
    /// The operation's name, or what it is if it is no operation.
    pub op: String,
    /// Where its operands lie, one letter each (`r`egister, `i`mmediate, `s`lot), and what follows.
    pub form: String,
    /// The machine code in hexadecimal digits.
    pub bytes: String,
    /// What was patched into it.
    pub holes: Vec<HoleListing>,
}

/// One patched hole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoleListing {
    /// Where its window begins, in bytes from the start of the stencil.
    pub offset: u64,
    /// What its value means.
    pub what: String,
    /// The value; for places in the code, bytes from the start of all code.
    pub value: i64,
}

impl Explanation {
    /// Explains function `func` of a traced program, or all; `name` tells the names of functions.
    ///
    /// # Errors
    /// One line: the program was not traced, or there is no such function.
    pub fn new(
        program: &Program,
        pack: &Pack,
        func: Option<u32>,
        name: &dyn Fn(u32) -> String,
    ) -> Result<Self, String> {
        let listing = program
            .listing()
            .ok_or("the program was compiled without a trace")?;
        let explainer = Explainer {
            program,
            pack,
            view: pack.view().map_err(|error| error.to_string())?,
            entries: program
                .entries()
                .map(|(index, offset)| (i64::from(offset), index))
                .collect(),
            name,
        };
        let mut functions: Vec<FunctionListing> = Vec::new();
        for (at, emitted) in listing.iter().enumerate() {
            // What belongs to no function (entry and unwind stencils) has a number without an entry.
            let Some(entry) = program.entry(emitted.function) else {
                continue;
            };
            if func.is_some_and(|func| func != emitted.function) {
                continue;
            }
            let end = listing
                .get(at + 1)
                .map_or(program.code().len(), |next| next.offset as usize);
            let stencil = explainer.stencil(emitted, end);
            match functions.last_mut() {
                Some(last) if last.index == emitted.function => last.stencils.push(stencil),
                _ => functions.push(FunctionListing {
                    index: emitted.function,
                    name: name(emitted.function),
                    offset: (entry - program.range().start) as u64,
                    stencils: vec![stencil],
                }),
            }
        }
        match func {
            Some(func) if functions.is_empty() => {
                Err(format!("there is no code of a function {func}"))
            }
            _ => Ok(Self {
                arch: pack.metadata().machine.arch.clone(),
                functions,
            }),
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        // Strings and numbers only: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From JSON.
    ///
    /// # Errors
    /// The parser's message.
    pub fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

struct Explainer<'a> {
    program: &'a Program,
    pack: &'a Pack,
    view: PackView<'a>,
    /// Functions by where they begin.
    entries: HashMap<i64, u32>,
    name: &'a dyn Fn(u32) -> String,
}

impl Explainer<'_> {
    /// `end` is where the next one begins.
    fn stencil(&self, emitted: &Emitted, end: usize) -> StencilListing {
        let metadata = self.pack.metadata();
        let start = emitted.offset as usize;
        let row = self.view.stencils.get(emitted.stencil as usize);
        let op = metadata.ops.get(usize::from(emitted.op));
        let (Some(row), Some(op)) = (row, op) else {
            return self.raw(start, end);
        };
        let code = self.code(start, start + usize::from(row.length.get()));
        let form = form(FormKey(emitted.key), op);
        let list = self.view.hole_lists.get(usize::from(row.holes.get()));
        let holes = list.and_then(|list| {
            let first = list.first.get() as usize;
            self.view
                .holes
                .get(first..first + usize::from(list.count.get()))
        });
        let values = form.values(op);
        StencilListing {
            offset: start as u64,
            op: op.name.clone(),
            form: form_text(&form),
            bytes: hex(code),
            holes: holes
                .unwrap_or_default()
                .iter()
                .map(|hole| self.hole(hole, emitted, op, &values))
                .collect(),
        }
    }

    /// A trap stub or a branch table.
    fn raw(&self, start: usize, end: usize) -> StencilListing {
        let site = self.program.site(self.program.range().start + start);
        let (op, end) = match site {
            Some(site) => (
                format!("trap: {}", self.pack.trap_name(site.kind)),
                start + usize::from(site.length),
            ),
            None => ("table of branch targets".to_owned(), end),
        };
        let bytes = hex(self.code(start, end));
        StencilListing {
            offset: start as u64,
            op,
            form: String::new(),
            bytes,
            holes: Vec::new(),
        }
    }

    fn code(&self, start: usize, end: usize) -> &[u8] {
        self.program.code().get(start..end).unwrap_or_default()
    }

    fn hole(
        &self,
        hole: &HoleRow,
        emitted: &Emitted,
        op: &Operation,
        values: &[Value],
    ) -> HoleListing {
        let offset = usize::from(hole.offset.get());
        let at = emitted.offset as usize + offset;
        let kind = self.pack.metadata().kinds.get(usize::from(hole.kind));
        let place = || {
            let kind = kind?;
            let mut window = [0; 8];
            let size = usize::from(kind.window.min(8));
            window[..size].copy_from_slice(self.code(at, at + size).get(..size)?);
            let value = read_back(kind, u64::from_le_bytes(window))? - i64::from(hole.addend.get());
            Some(if kind.pc_relative {
                value + at as i64
            } else {
                value
            })
        };
        let (what, value) = match Source::decode(hole.source) {
            Some(Source::Value(index)) => {
                let value = emitted.values.get(usize::from(index)).copied().unwrap_or(0);
                (
                    self.value(values.get(usize::from(index)), value),
                    Some(value),
                )
            }
            Some(Source::Target(_)) => {
                let place = place();
                let function = place.and_then(|place| self.entries.get(&place));
                let called =
                    op.name.starts_with("core.call") || op.name.starts_with("core.tail_call");
                let what = match function {
                    Some(function) if called => format!("function {}", (self.name)(*function)),
                    _ => "branch target".to_owned(),
                };
                (what, place)
            }
            Some(Source::Table) => ("table of branch targets".to_owned(), place()),
            Some(Source::Pool) => ("constant".to_owned(), place()),
            Some(Source::Trap(kind)) => (format!("trap: {}", self.pack.trap_name(kind)), place()),
            None => ("unknown".to_owned(), None),
        };
        HoleListing {
            offset: offset as u64,
            what,
            value: value.unwrap_or(0),
        }
    }

    /// What one of a form's values means; slots by number, since their offsets depend on the target.
    fn value(&self, meaning: Option<&Value>, value: i64) -> String {
        let bias = i64::from(self.pack.metadata().machine.frame_bias);
        let slot = || (value + bias) / i64::from(self.program.slot_bytes());
        match meaning {
            Some(Value::Constant(_, ty)) => format!("{} constant", ty.name()),
            Some(Value::OperandSlot(..)) => format!("slot {}", slot()),
            Some(Value::ResultSlot(_)) => format!("result, slot {}", slot()),
            Some(Value::Immediate(_)) => "immediate".to_owned(),
            None => "value".to_owned(),
        }
    }
}

fn form(key: FormKey, op: &Operation) -> Form {
    let operands = (0..op.operands.len())
        .map(|index| key.operand(index).unwrap_or(Place::Register))
        .collect();
    let outcome = key.outcome().unwrap_or(Outcome::Plain);
    let place = if key.result_slot() {
        Place::Slot
    } else {
        Place::Register
    };
    let result = (outcome == Outcome::Plain && op.result.is_some()).then_some(place);
    Form {
        operands,
        result,
        outcome,
    }
}

fn form_text(form: &Form) -> String {
    let mut text: String = form.operands.iter().map(|place| place.letter()).collect();
    if let Some(result) = form.result {
        text.push('>');
        text.push(result.letter());
    }
    match form.outcome {
        Outcome::Plain => {}
        Outcome::BranchTrue => text += " branch if true",
        Outcome::BranchFalse => text += " branch if false",
    }
    text
}

/// The value that was patched into a window, if its bits tell: the inverse of [`fill`], checked by it.
fn read_back(kind: &PatchKind, window: u64) -> Option<i64> {
    let signed = |value: u64, negate: bool| match negate {
        true => value.wrapping_neg(),
        false => value,
    };
    let mut fields: Vec<&Field> = kind.fields.iter().collect();
    fields.sort_by_key(|field| field.shift);
    fields.first()?;
    // The value's low bits, which each field adds to: what it holds began with those below it.
    let (mut value, mut known) = (0u64, 0u32);
    for field in fields {
        let (shift, width) = (
            u32::from(field.shift),
            u32::from(field.end.checked_sub(field.start)?),
        );
        let ones = |count: u32| 1u64.checked_shl(count).map_or(u64::MAX, |bit| bit - 1);
        let addend = field.addend as u64;
        let below = signed(value, field.negate).wrapping_add(addend) & ones(shift);
        let bits = window.checked_shr(u32::from(field.start))? & ones(width);
        let sum = bits.checked_shl(shift)? | below;
        if shift + width > known {
            known = (shift + width).min(64);
            value = signed(sum.wrapping_sub(addend), field.negate) & ones(known);
        }
    }
    let unused = 64 - known.clamp(1, 64);
    let value = if kind.lo < 0 {
        (value << unused) as i64 >> unused
    } else {
        value as i64
    };
    (fill(kind, window, value) == window).then_some(value)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(lo: i64, hi: i64, fields: Vec<Field>) -> PatchKind {
        PatchKind {
            window: 4,
            pc_relative: false,
            lo,
            hi,
            align: 0,
            fields,
        }
    }

    #[test]
    fn what_is_filled_in_is_read_back() {
        let field = |start, end, shift, negate, addend| Field {
            start,
            end,
            shift,
            negate,
            addend,
        };
        let kinds = [
            kind(-128, 127, vec![field(0, 8, 0, false, 0)]),
            kind(0, 4095, vec![field(10, 22, 0, false, 0)]),
            kind(-1000, 1000, vec![field(5, 17, 0, true, -1)]),
            // Scattered, as in a riscv64 store.
            kind(
                -2048,
                2047,
                vec![field(7, 12, 0, false, 0), field(25, 32, 5, false, 0)],
            ),
            // In two instructions, as riscv64 adds a distance to the program counter: the upper one makes up for the sign of
            // the lower.
            PatchKind {
                window: 8,
                ..kind(
                    -70_000,
                    70_000,
                    vec![field(12, 32, 12, false, 0x800), field(52, 64, 0, false, 0)],
                )
            },
        ];
        for kind in kinds {
            for value in kind.lo..=kind.hi {
                assert_eq!(
                    read_back(&kind, fill(&kind, 0xdead_beef, value)),
                    Some(value),
                    "{kind:?}"
                );
            }
        }
    }

    #[test]
    fn bits_that_no_value_gives_are_not_read() {
        // Two fields hold the same bits of the value, and disagree.
        let field = |start, end| Field {
            start,
            end,
            shift: 0,
            negate: false,
            addend: 0,
        };
        let kind = kind(0, 15, vec![field(0, 4), field(4, 8)]);
        assert_eq!(read_back(&kind, 0x33), Some(3));
        assert_eq!(read_back(&kind, 0x35), None);
    }

    #[test]
    fn an_explanation_survives_its_json() {
        let hole = HoleListing {
            offset: 3,
            what: "i32 constant".to_owned(),
            value: -1,
        };
        let stencil = StencilListing {
            offset: 64,
            op: "i32.add".to_owned(),
            form: "ri>r".to_owned(),
            bytes: "83c0ff".to_owned(),
            holes: vec![hole],
        };
        let function = FunctionListing {
            index: 0,
            name: "a \"name\"\n".to_owned(),
            offset: 64,
            stencils: vec![stencil],
        };
        let explanation = Explanation {
            arch: "x86_64".to_owned(),
            functions: vec![function],
        };
        assert_eq!(
            Explanation::from_json(&explanation.to_json()),
            Ok(explanation)
        );
        assert!(Explanation::from_json("{").is_err());
    }
}
