//! Numbers in memory that objects of other modules own: `array.array`, and arrays and scalars of numpy.
//!
//! Nothing is imported for it: what a module's objects look like is found out when the first of them is an argument. Their data is
//! read where it lies at each access, so that no buffer is held, which would keep others from resizing it.
#![allow(unsafe_code)] // Reads objects by the layouts below, which `look` has made sure of.

use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::ir::{Element, Type};

/// Offsets within objects of `array.array` and of numpy, in bytes.
///
/// Numpy's are those of `PyArrayObject_fields` of its C interface; an array's are the same from CPython 3.11 to 3.13.
pub mod offset {
    /// Where an `array.array` has its description, whose first byte is the type code.
    pub const CODE: usize = 40;
    pub const DATA: i32 = 16;
    pub const DIMENSIONS: i32 = 24;
    pub const SHAPE: i32 = 32;
    pub const STRIDES: i32 = 40;
    pub const DTYPE: i32 = 56;
    pub const FLAGS: i32 = 64;
    /// Where numpy's scalars have their value.
    pub const VALUE: usize = 16;
}

/// The bit of an array's flags that allows to write.
pub const WRITEABLE: i64 = 0x400;

/// Objects by which others are known; null before they were looked up.
struct Known {
    array: AtomicPtr<PyObject>,
    ndarray: AtomicPtr<PyObject>,
    /// Scalar types and descriptions of float64 and of int64.
    scalars: [AtomicPtr<PyObject>; 2],
    dtypes: [AtomicPtr<PyObject>; 2],
}

static KNOWN: Known = Known {
    array: AtomicPtr::new(std::ptr::null_mut()),
    ndarray: AtomicPtr::new(std::ptr::null_mut()),
    scalars: [const { AtomicPtr::new(std::ptr::null_mut()) }; 2],
    dtypes: [const { AtomicPtr::new(std::ptr::null_mut()) }; 2],
};

fn get(known: &AtomicPtr<PyObject>) -> *mut PyObject {
    known.load(Ordering::Relaxed)
}

/// The address of numpy's description of float64 or int64.
pub fn dtype(of: Element) -> u64 {
    get(&KNOWN.dtypes[usize::from(of == Element::I64)]) as u64
}

unsafe fn word<T: Copy>(object: *mut PyObject, offset: usize) -> T {
    // SAFETY: the caller's object has that word.
    unsafe { object.cast::<u8>().add(offset).cast::<T>().read() }
}

/// Keeps an object for ever.
fn keep(known: &AtomicPtr<PyObject>, object: Bound<'_, PyAny>) {
    known.store(object.into_ptr(), Ordering::Relaxed);
}

/// Looks around in a module that was imported; nothing is noted if its objects are not as expected.
fn look(py: Python<'_>, name: &str) -> PyResult<()> {
    let modules = py.import("sys")?.getattr("modules")?;
    let Some(module) = modules.cast::<PyDict>()?.get_item(name)? else {
        return Ok(());
    };
    if name == "array" && get(&KNOWN.array).is_null() {
        let ty = module.getattr("array")?;
        let example = ty.call1(("d", [1.5, 2.5]))?;
        let object = example.as_ptr();
        // SAFETY: an array of two floats has as many words; its third and fourth are its size and its data.
        let good = unsafe {
            word::<usize>(object, 16) == 2
                && word::<*const f64>(object, 24).read() == 1.5
                && word::<*const u8>(object, offset::CODE).read() == b'd'
        };
        if good {
            keep(&KNOWN.array, ty);
        }
    }
    if name == "numpy" && get(&KNOWN.ndarray).is_null() {
        let example = module
            .call_method1("arange", (6.0,))?
            .call_method1("reshape", (2, 3))?;
        let object = example.as_ptr();
        let dtypes = [
            module.call_method1("dtype", ("float64",))?,
            module.call_method1("dtype", ("int64",))?,
        ];
        let scalars = [module.getattr("float64")?, module.getattr("int64")?];
        let integer = scalars[1].call1((-7,))?;
        // SAFETY: an array of two rows of three floats, of at least 72 bytes, and an integer.
        let good = unsafe {
            word::<*const f64>(object, offset::DATA as usize)
                .add(1)
                .read()
                == 1.0
                && word::<u32>(object, offset::DIMENSIONS as usize) == 2
                && word::<*const i64>(object, offset::SHAPE as usize)
                    .add(1)
                    .read()
                    == 3
                && word::<*const i64>(object, offset::STRIDES as usize).read() == 24
                && word::<*mut PyObject>(object, offset::DTYPE as usize) == dtypes[0].as_ptr()
                && i64::from(word::<u32>(object, offset::FLAGS as usize)) & WRITEABLE != 0
                && word::<i64>(integer.as_ptr(), offset::VALUE) == -7
        };
        if good {
            for (number, (scalar, dtype)) in scalars.into_iter().zip(dtypes).enumerate() {
                keep(&KNOWN.scalars[number], scalar);
                keep(&KNOWN.dtypes[number], dtype);
            }
            keep(&KNOWN.ndarray, example.get_type().into_any());
        }
    }
    Ok(())
}

/// The type of an object of other modules, if its numbers can be taken from it; looks at modules that were imported meanwhile.
pub unsafe fn type_of(object: *mut PyObject) -> Option<Type> {
    for (name, known) in [("array", &KNOWN.array), ("numpy", &KNOWN.ndarray)] {
        if get(known).is_null() {
            // An error, as of a module that only has the name, is no matter.
            let _ = Python::attach(|py| look(py, name));
        }
    }
    // SAFETY: as the caller's.
    unsafe { known_type_of(object) }
}

/// [`type_of`], of modules that were looked at.
unsafe fn known_type_of(object: *mut PyObject) -> Option<Type> {
    // SAFETY: an object, whose type is not null, and objects of these types, which are as expected.
    unsafe {
        let ty = ffi::Py_TYPE(object).cast::<PyObject>();
        if ty == get(&KNOWN.array) {
            let code = word::<*const u8>(object, offset::CODE).read();
            return Element::of_code(code).map(Type::Array);
        }
        if ty == get(&KNOWN.ndarray) {
            let dtype = word::<*mut PyObject>(object, offset::DTYPE as usize);
            let number = KNOWN.dtypes.iter().position(|known| get(known) == dtype)?;
            let dimensions = word::<u32>(object, offset::DIMENSIONS as usize);
            let dimensions = u8::try_from(dimensions).ok()?;
            return (1..=2).contains(&dimensions).then_some(Type::NumpyArray(
                [Element::F64, Element::I64][number],
                dimensions,
            ));
        }
        [Type::NumpyFloat, Type::NumpyInt]
            .into_iter()
            .zip(&KNOWN.scalars)
            .find_map(|(of, known)| (ty == get(known)).then_some(of))
    }
}

/// Writes an object of other modules to a slot if it is of that type.
pub unsafe fn unbox(object: *mut PyObject, ty: Type, slot: *mut u64) -> bool {
    // SAFETY: an object and a slot of the stack.
    unsafe {
        if known_type_of(object) != Some(ty) {
            return false;
        }
        *slot = match ty {
            Type::NumpyFloat | Type::NumpyInt => word::<u64>(object, offset::VALUE),
            _ => object as u64,
        };
    }
    true
}

/// A new scalar of numpy; null with an error.
pub unsafe fn scalar(ty: Type, bits: u64) -> *mut PyObject {
    // SAFETY: the interpreter's lock is held; a value of the type was met, so that the type is known.
    unsafe {
        let (number, value) = match ty {
            Type::NumpyFloat => (0, ffi::PyFloat_FromDouble(f64::from_bits(bits))),
            _ => (1, ffi::PyLong_FromLongLong(bits as i64)),
        };
        if value.is_null() {
            return value;
        }
        let scalar = ffi::PyObject_CallFunctionObjArgs(
            get(&KNOWN.scalars[number]),
            value,
            std::ptr::null_mut::<PyObject>(),
        );
        ffi::Py_DecRef(value);
        scalar
    }
}
