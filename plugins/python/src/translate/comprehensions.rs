//! List comprehensions of 3.11, each a function of its own that is made where it stands, called once, and forgotten.
//!
//! It is compiled like a function that is called: its argument is an iterator, and the variables that it reads of the function
//! around it are arguments too. So cells are variables like others here; what goes on in the interpreter makes them again.

use super::{Done, Environment, Items, Slot, Stop, Translator, slot_type};
use crate::bytecode::function_at;
use crate::ir::Type;

impl Translator<'_> {
    /// Pushes the function of a comprehension if one is made from the instruction in hand on; gives the offset behind.
    pub(super) fn comprehension(&mut self, environment: &mut dyn Environment) -> Option<u32> {
        let code = &self.code.instructions;
        let at = code.partition_point(|other| other.offset < self.at.offset);
        let made = function_at(code, at)?;
        let inside = &code[at + 1..made.behind];
        if inside.iter().any(|one| self.leaders[one.offset as usize]) {
            return None;
        }
        let function = environment.comprehension(made.constant)?;
        let to = code[made.behind - 1].next;
        self.state.stack.push(Slot::Comprehension {
            function,
            cells: made.cells,
            from: self.at.offset,
            to,
        });
        Some(to)
    }

    /// Calls the function of a comprehension with an iterator.
    pub(super) fn call_comprehension(
        &mut self,
        function: u32,
        cells: &[u32],
        iterator: &Slot,
        environment: &mut dyn Environment,
    ) -> Done {
        let mut arguments = vec![iterator.clone()];
        let mut types = vec![match *iterator {
            Slot::RangeIterator { step, .. } => Type::RangeIterator(step),
            Slot::ListIterator {
                items: Items::One(Type::List(item)),
                ..
            } => Type::ListIterator(item),
            _ => return Err(Stop::Leave("a comprehension of something else")),
        }];
        for cell in cells {
            let slot = self.local(*cell)?;
            types.push(slot_type(&slot)?);
            arguments.push(slot);
        }
        let callee = environment
            .specialise_comprehension(function, &types)
            .ok_or(Stop::Leave("a comprehension of these"))?;
        let result = environment.result(callee).ok_or(Stop::Unknown)?;
        self.call_code(callee, result, &arguments, 0)
    }
}
