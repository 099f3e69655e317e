//! What compiled code calls: everything that touches objects.
#![allow(unsafe_code)] // Called by generated code with its context and slots; calls the interpreter.

use std::ptr::null_mut;

use copatch::{Context, Helper};
use pyo3::ffi::{self, PyObject};

use crate::ir::{Item, Type};
use crate::leave;
use crate::run::{self, Environment};

/// Helpers by their number in the context's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Number {
    /// Takes an exit's number and its function; gives a result as the function does.
    Leave,
    /// Takes the function; gives not zero if the interpreter must go on.
    Attend,
    Release,
    FloatFloorDiv,
    FloatMod,
    FloatPower,
    IntPower,
    Floor,
    Ceil,
    /// Takes a float and a function's number.
    Math,
    /// Takes an int object.
    IntValue,
    NewList,
    /// Takes the address of what the items are, how many they are, and them.
    Tuple,
    AppendInt,
    AppendFloat,
    AppendBool,
    AppendObject,
    /// Take a list, an index and a value.
    SetInt,
    SetFloat,
    SetBool,
    SetObject,
    /// Takes a list and a number.
    Repeat,
    /// Takes a list and two bounds.
    Slice,
    /// Takes start, stop and step.
    ListOfRange,
    /// Take a list.
    SumInt,
    SumFloat,
}

/// In the order of [`Number`].
pub static HELPERS: [Helper; 26] = [
    leave_function,
    attend,
    release,
    float_floor_div,
    float_mod,
    float_power,
    int_power,
    floor,
    ceil,
    math,
    int_value,
    new_list,
    tuple,
    append_int,
    append_float,
    append_bool,
    append_object,
    set_int,
    set_float,
    set_bool,
    set_object,
    repeat,
    slice,
    list_of_range,
    sum_int,
    sum_float,
];

/// A function of one float.
type Function = fn(f64) -> f64;

/// Functions of `math` of one argument that are computed as the C library does.
pub const MATH: [(&str, Function); 14] = [
    ("sin", f64::sin),
    ("cos", f64::cos),
    ("tan", f64::tan),
    ("asin", f64::asin),
    ("acos", f64::acos),
    ("atan", f64::atan),
    ("sinh", f64::sinh),
    ("cosh", f64::cosh),
    ("tanh", f64::tanh),
    ("exp", f64::exp),
    ("log2", f64::log2),
    ("log10", f64::log10),
    ("log", f64::ln),
    ("expm1", f64::exp_m1),
];

/// A slot's bits as a float.
unsafe fn float(slots: *mut u64, at: usize) -> f64 {
    // SAFETY: the caller's slots hold that many values.
    f64::from_bits(unsafe { *slots.add(at) })
}

unsafe fn object(slots: *mut u64, at: usize) -> *mut PyObject {
    // SAFETY: the caller's slots hold that many values.
    unsafe { *slots.add(at) as *mut PyObject }
}

/// Gives a value, and whether the interpreter must compute it instead.
unsafe fn give(slots: *mut u64, value: Option<u64>) -> u32 {
    // SAFETY: two results were asked for, and the frame has room for them.
    unsafe {
        *slots = value.unwrap_or(0);
        *slots.add(1) = u64::from(value.is_none());
    }
    0
}

/// Gives whether the interpreter must do it instead; an error that was raised is forgotten, since it will be raised again.
unsafe fn give_done(slots: *mut u64, done: bool) -> u32 {
    if !done {
        // SAFETY: compiled code runs with the interpreter's lock.
        unsafe { ffi::PyErr_Clear() };
    }
    // SAFETY: one result was asked for.
    unsafe { *slots = u64::from(!done) };
    0
}

unsafe extern "C" fn leave_function(context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: called by compiled code at an exit, with the function's own exits.
    unsafe { leave::leave(context.cast::<Environment>(), slots) }
}

unsafe extern "C" fn attend(context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: called by compiled code in a loop.
    unsafe { run::attend(context.cast::<Environment>(), slots) }
}

unsafe extern "C" fn release(context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: the slot holds a reference that the caller owns.
    unsafe {
        outside(context, slots, || ffi::Py_DecRef(object(slots, 0)));
    }
    0
}

/// Does what may run code of others, which may enter compiled code beyond this frame: so does whatever makes an object that the
/// collector looks after, since it may find others, with finalisers.
unsafe fn outside<T>(context: *mut Context, slots: *mut u64, run: impl FnOnce() -> T) -> T {
    // SAFETY: a helper's context and slots.
    unsafe {
        let outer = run::begin_python(context.cast(), slots);
        let result = run();
        run::end_python(context.cast(), outer);
        result
    }
}

/// Remainder and quotient of floats as CPython has them: the remainder has the divisor's sign.
fn float_divmod(left: f64, right: f64) -> (f64, f64) {
    let mut remainder = left % right;
    let mut quotient = (left - remainder) / right;
    if remainder != 0.0 {
        if (right < 0.0) != (remainder < 0.0) {
            remainder += right;
            quotient -= 1.0;
        }
    } else {
        remainder = 0.0f64.copysign(right);
    }
    let floor = if quotient != 0.0 {
        let floor = quotient.floor();
        if quotient - floor > 0.5 {
            floor + 1.0
        } else {
            floor
        }
    } else {
        0.0f64.copysign(left / right)
    };
    (floor, remainder)
}

unsafe extern "C" fn float_floor_div(_context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: two floats.
    unsafe {
        let (left, right) = (float(slots, 0), float(slots, 1));
        let value = (right != 0.0).then(|| float_divmod(left, right).0.to_bits());
        give(slots, value)
    }
}

unsafe extern "C" fn float_mod(_context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: two floats.
    unsafe {
        let (left, right) = (float(slots, 0), float(slots, 1));
        let value = (right != 0.0).then(|| float_divmod(left, right).1.to_bits());
        give(slots, value)
    }
}

unsafe extern "C" fn float_power(_context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: two floats.
    unsafe {
        let (left, right) = (float(slots, 0), float(slots, 1));
        // Everything that is special is the interpreter's.
        let plain = left > 0.0 || left < 0.0 && right.fract() == 0.0;
        let value = left.powf(right);
        let good = plain && left.is_finite() && right.is_finite() && value.is_finite();
        give(slots, good.then_some(value.to_bits()))
    }
}

unsafe extern "C" fn int_power(_context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: two integers.
    unsafe {
        let (left, right) = (*slots as i64, *slots.add(1) as i64);
        let value = u32::try_from(right)
            .ok()
            .and_then(|right| left.checked_pow(right));
        give(slots, value.map(|value| value as u64))
    }
}

unsafe fn whole(slots: *mut u64, value: f64) -> u32 {
    let bound = 2f64.powi(63);
    let good = value >= -bound && value < bound;
    // SAFETY: as the callers'.
    unsafe { give(slots, good.then_some(value as i64 as u64)) }
}

unsafe extern "C" fn floor(_context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: a float.
    unsafe { whole(slots, float(slots, 0).floor()) }
}

unsafe extern "C" fn ceil(_context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: a float.
    unsafe { whole(slots, float(slots, 0).ceil()) }
}

unsafe extern "C" fn math(_context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: a float and a number.
    unsafe {
        let (of, number) = (float(slots, 0), *slots.add(1) as usize);
        let value = MATH.get(number).map(|(_, function)| function(of));
        let good = value.filter(|value| of.is_finite() && value.is_finite());
        give(slots, good.map(f64::to_bits))
    }
}

unsafe extern "C" fn int_value(_context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: an int object.
    unsafe {
        let value = run::int_value(object(slots, 0));
        give(slots, value.map(|value| value as u64))
    }
}

unsafe extern "C" fn new_list(context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: the interpreter's lock is held.
    unsafe { give_list(slots, outside(context, slots, || ffi::PyList_New(0))) }
}

unsafe extern "C" fn tuple(context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: the address and length are those of a type's items, which are never freed; as many values of these types follow.
    unsafe {
        let items = std::slice::from_raw_parts(*slots as *const Item, *slots.add(1) as usize);
        let tuple = outside(context, slots, || ffi::PyTuple_New(items.len() as isize));
        if tuple.is_null() {
            return give_list(slots, tuple);
        }
        for (at, item) in items.iter().enumerate() {
            let value = run::boxed(item.ty(), *slots.add(2 + at));
            if value.is_null() {
                ffi::Py_DecRef(tuple);
                return give_list(slots, null_mut());
            }
            if item.ty().is_object() {
                ffi::Py_IncRef(value);
            }
            ffi::PyTuple_SetItem(tuple, at as isize, value);
        }
        give_list(slots, tuple)
    }
}

/// Appends a new reference, or none.
unsafe fn append(slots: *mut u64, item: *mut PyObject) -> u32 {
    // SAFETY: the first slot holds a list, whose third word is its size and whose fifth the size that it has room for, or -1 while it
    // is sorted.
    unsafe {
        let list = object(slots, 0);
        let (size, words) = (run::list_size(list), list.cast::<isize>());
        if !item.is_null() && (size as isize) < *words.add(4) {
            *run::list_items(list).add(size) = item;
            *words.add(2) = size as isize + 1;
            *slots = 0;
            return 0;
        }
        let done = !item.is_null() && ffi::PyList_Append(list, item) == 0;
        if !item.is_null() {
            ffi::Py_DecRef(item);
        }
        give_done(slots, done)
    }
}

unsafe extern "C" fn append_int(_context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: a list and an integer.
    unsafe { append(slots, ffi::PyLong_FromLongLong(*slots.add(1) as i64)) }
}

unsafe extern "C" fn append_float(_context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: a list and a float.
    unsafe { append(slots, ffi::PyFloat_FromDouble(float(slots, 1))) }
}

unsafe extern "C" fn append_bool(_context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: a list and a truth value, whose upper half is of no meaning.
    unsafe { append(slots, ffi::PyBool_FromLong(i64::from(*slots.add(1) as u32))) }
}

unsafe extern "C" fn append_object(_context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: a list and an object.
    unsafe {
        let item = object(slots, 1);
        ffi::Py_IncRef(item);
        append(slots, item)
    }
}

/// Replaces an item by a new reference; does nothing if that is the interpreter's to do: the index is out of range, or what is
/// replaced might run code when it goes.
unsafe fn set(slots: *mut u64, item: *mut PyObject) -> u32 {
    // SAFETY: the slots hold a list and an index; items of lists are objects.
    unsafe {
        let (list, mut index) = (object(slots, 0), *slots.add(1) as i64);
        let size = run::list_size(list) as i64;
        if index < 0 {
            index += size;
        }
        let good = !item.is_null()
            && (0..size).contains(&index)
            && run::is_plain(*run::list_items(list).add(index as usize));
        if !good {
            if !item.is_null() {
                ffi::Py_DecRef(item);
            }
            return give_done(slots, false);
        }
        let place = run::list_items(list).add(index as usize);
        let old = std::mem::replace(&mut *place, item);
        ffi::Py_DecRef(old);
        *slots = 0;
    }
    0
}

unsafe extern "C" fn set_int(_context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: a list, an index and an integer.
    unsafe { set(slots, ffi::PyLong_FromLongLong(*slots.add(2) as i64)) }
}

unsafe extern "C" fn set_float(_context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: a list, an index and a float.
    unsafe { set(slots, ffi::PyFloat_FromDouble(float(slots, 2))) }
}

unsafe extern "C" fn set_bool(_context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: a list, an index and a truth value, whose upper half is of no meaning.
    unsafe { set(slots, ffi::PyBool_FromLong(i64::from(*slots.add(2) as u32))) }
}

unsafe extern "C" fn set_object(_context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: a list, an index and an object.
    unsafe {
        let item = object(slots, 2);
        ffi::Py_IncRef(item);
        set(slots, item)
    }
}

unsafe extern "C" fn repeat(context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: a list and a number.
    unsafe {
        let (list, count) = (object(slots, 0), *slots.add(1) as isize);
        let repeated = outside(context, slots, || ffi::PySequence_Repeat(list, count));
        give_list(slots, repeated)
    }
}

/// Gives a list or a tuple, or that there is none.
unsafe fn give_list(slots: *mut u64, list: *mut PyObject) -> u32 {
    // SAFETY: the interpreter's lock is held.
    unsafe {
        if list.is_null() {
            ffi::PyErr_Clear();
        }
        give(slots, (!list.is_null()).then_some(list as u64))
    }
}

unsafe extern "C" fn slice(context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: a list and two bounds.
    unsafe {
        let list = object(slots, 0);
        let size = run::list_size(list) as i64;
        let bound = |at: usize| {
            let bound = *slots.add(at) as i64;
            let from_start = if bound < 0 {
                bound.saturating_add(size)
            } else {
                bound
            };
            from_start.clamp(0, size) as isize
        };
        let (low, high) = (bound(1), bound(2));
        let part = outside(context, slots, || ffi::PyList_GetSlice(list, low, high));
        give_list(slots, part)
    }
}

unsafe extern "C" fn list_of_range(context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: three integers, the last of which is not zero.
    unsafe {
        let values = [*slots, *slots.add(1), *slots.add(2)];
        let list = outside(context, slots, || {
            let range = leave::range(values);
            if range.is_null() {
                return range;
            }
            let list = ffi::PySequence_List(range);
            ffi::Py_DecRef(range);
            list
        });
        give_list(slots, list)
    }
}

/// The interpreter's `sum` of a list whose items run no code when they are added; nothing if it is of another type.
unsafe fn sum(context: *mut Context, slots: *mut u64, ty: Type) -> u32 {
    // SAFETY: a list, whose items are looked at before anything is called.
    unsafe {
        let list = object(slots, 0);
        let items = run::list_items(list);
        let plain = (0..run::list_size(list)).all(|at| run::is_plain(*items.add(at)));
        let Ok(machine) = crate::machine() else {
            return give(slots, None);
        };
        if !plain {
            return give(slots, None);
        }
        let value = outside(context, slots, || {
            let none = null_mut::<PyObject>();
            ffi::PyObject_CallFunctionObjArgs(machine.sum.as_ptr(), list, none)
        });
        if value.is_null() {
            ffi::PyErr_Clear();
            return give(slots, None);
        }
        match run::unboxed(value, ty) {
            Ok(value) => give(slots, Some(value)),
            Err(object) => {
                ffi::Py_DecRef(object);
                give(slots, None)
            }
        }
    }
}

unsafe extern "C" fn sum_int(context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: a list.
    unsafe { sum(context, slots, Type::Int) }
}

unsafe extern "C" fn sum_float(context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: a list.
    unsafe { sum(context, slots, Type::Float) }
}
