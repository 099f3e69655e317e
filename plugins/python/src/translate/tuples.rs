//! Tuples by their address. What their items are is part of the type, since it stays so.

use copatch::ValueType;

use super::objects::{item_of, offset};
use super::values::constant_int;
use super::{Done, Environment, Slot, Stop, Translator, What};
use crate::helpers::Number;
use crate::ir::{Item, Name, Step, Type};
use crate::run::tuple;

impl Translator<'_> {
    pub(super) fn tuple_item(
        &mut self,
        (tuple, owned): (u32, bool),
        items: &[Item],
        index: &Slot,
        operands: &[&Slot],
    ) -> Done {
        let count = items.len() as i64;
        let item = match constant_int(index) {
            Some(at) if (-count..count).contains(&at) => {
                let at = if at < 0 { at + count } else { at };
                let exit = self.exit_with(operands, "an item of another type");
                self.item_of_tuple(tuple, at as usize, items, exit)?;
                items[at as usize]
            }
            Some(_) => return Err(Stop::Leave("an index out of range")),
            None => {
                let item = Type::common(items).ok_or(Stop::Leave("items of several types"))?;
                let at = self.index(tuple, index, operands)?;
                let exit = self.exit_with(operands, "an item of another type");
                let object = self.tuple_object(tuple, at);
                self.item_value(object, item, exit)?;
                item
            }
        };
        self.own_item(item, owned);
        Ok(())
    }

    /// Pushes an item of a tuple whose items are known. A list is not owned yet.
    fn item_of_tuple(&mut self, tuple: u32, at: usize, items: &[Item], exit: u32) -> Done {
        let object = self.temporary(5);
        self.steps.extend([
            Step::Get(tuple),
            Step::OpImm(Name::LoadI64, offset::ITEMS + 8 * at as i32),
            Step::Set(object),
        ]);
        self.item_value(object, items[at], exit)
    }

    /// Leaves the item of a tuple at an index in range in a variable.
    pub(super) fn tuple_object(&mut self, tuple: u32, at: u32) -> u32 {
        let object = self.temporary(5);
        self.steps.extend([
            Step::Get(tuple),
            Step::Const(ValueType::I64, offset::ITEMS as u64),
            Step::Op(Name::Add),
            Step::Get(at),
            Step::Op(Name::ElementI64),
            Step::Set(object),
        ]);
        object
    }

    /// Takes apart a tuple.
    pub(super) fn unpack(&mut self, count: u32) -> Done {
        let slot = self.pop()?;
        match slot {
            Slot::Tuple(items, _) if items.len() == count as usize => {
                self.state.stack.extend(items.into_iter().rev());
                self.settle();
                Ok(())
            }
            Slot::Value {
                var,
                ty: Type::Tuple(items),
                owned,
            } if items.len() == count as usize => {
                let exit = self.exit_with(&[&slot], "an item of another type");
                // An item may take the variable that it was in.
                let kept = self.keep(var);
                for (at, item) in items.iter().enumerate().rev() {
                    self.item_of_tuple(kept, at, items, exit)?;
                    if let (Item::Lists(_), Some(Slot::Value { var, .. })) =
                        (item, self.state.stack.last())
                    {
                        self.retain(*var);
                    }
                }
                if owned {
                    self.release_var(kept);
                }
                Ok(())
            }
            _ => Err(Stop::Leave("a sequence to unpack")),
        }
    }

    /// Pushes a known object: a tuple by its address.
    pub(super) fn push_known(&mut self, slot: Slot, environment: &mut dyn Environment) {
        if let Slot::Object(id, What::Other) = slot
            && let Some((address, ty)) = environment.tuple(id)
        {
            self.steps.push(Step::Const(ValueType::I64, address));
            self.push_result(ty);
            // It lives as long as the code.
            if let Some(Slot::Value { owned, .. }) = self.state.stack.last_mut() {
                *owned = false;
            }
        } else {
            self.state.stack.push(slot);
        }
    }

    /// A tuple of so many entries of the stack.
    pub(super) fn build_tuple(&mut self, count: u32) -> Done {
        let at = self.below(count)?;
        let entries = self.state.stack[at..].to_vec();
        let items: Result<Vec<Item>, _> = entries.iter().map(item_of).collect();
        let items = items.map_err(|_| Stop::Leave("a tuple of objects"))?;
        let Some(ty @ Type::Tuple(items)) = tuple(&items) else {
            return Err(Stop::Leave("a long tuple"));
        };
        let exit = self.exit("no memory for a tuple");
        let made = self.temporary(8);
        for word in [items.as_ptr() as u64, items.len() as u64] {
            self.steps.push(Step::Const(ValueType::I64, word));
        }
        for entry in &entries {
            self.get(entry)?;
        }
        self.steps.extend([
            Step::Helper(Number::Tuple, 2 + count, &[ValueType::I64, ValueType::I32]),
            Step::ExitIf(exit),
            Step::Set(made),
        ]);
        self.state.stack.truncate(at);
        // Before the tuple takes the variables of the first.
        for entry in entries {
            self.release(&entry);
        }
        self.steps.push(Step::Get(made));
        self.push_result(ty);
        Ok(())
    }
}
