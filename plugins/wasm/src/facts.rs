//! What function bodies are validated against: types as single bytes, and the module's index spaces.

use copatch::ValueType;
use wasmparser::{HeapType, RefType, ValType, ValidatorResources, WasmModuleResources};

/// A value's type on the validator's stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Type(pub u8);

impl Type {
    /// Any type: only where control cannot get.
    pub const UNKNOWN: Self = Self(0);
    pub const I32: Self = Self(1);
    pub const I64: Self = Self(2);
    pub const F32: Self = Self(3);
    pub const F64: Self = Self(4);
    pub const V128: Self = Self(5);
    pub const FUNCREF: Self = Self(6);
    pub const EXTERNREF: Self = Self(7);
    /// How many there are.
    const COUNT: u8 = 8;

    /// The type of a letter in the instruction table.
    pub fn from_letter(letter: char) -> Self {
        match letter {
            'i' => Self::I32,
            'l' => Self::I64,
            'f' => Self::F32,
            'd' => Self::F64,
            'v' => Self::V128,
            _ => Self::UNKNOWN,
        }
    }

    /// The type of a type of `wasmparser`, if function bodies can have it.
    pub fn of(ty: ValType) -> Option<Self> {
        Some(match ty {
            ValType::I32 => Self::I32,
            ValType::I64 => Self::I64,
            ValType::F32 => Self::F32,
            ValType::F64 => Self::F64,
            ValType::V128 => Self::V128,
            ValType::Ref(ty) => Self::of_reference(ty)?,
        })
    }

    fn of_reference(ty: RefType) -> Option<Self> {
        match ty.heap_type() {
            HeapType::FUNC => Some(Self::FUNCREF),
            HeapType::EXTERN => Some(Self::EXTERNREF),
            _ => None,
        }
    }

    /// The type as the engine has it: references are words of 64 bits.
    pub fn code(self) -> ValueType {
        match self {
            Self::I32 => ValueType::I32,
            Self::F32 => ValueType::F32,
            Self::F64 => ValueType::F64,
            Self::V128 => ValueType::V128,
            _ => ValueType::I64,
        }
    }

    pub fn is_reference(self) -> bool {
        self.0 >= Self::FUNCREF.0
    }

    pub fn name(self) -> &'static str {
        const NAMES: [&str; Type::COUNT as usize] = [
            "any type",
            "i32",
            "i64",
            "f32",
            "f64",
            "v128",
            "funcref",
            "externref",
        ];
        NAMES.get(usize::from(self.0)).copied().unwrap_or_default()
    }
}

/// The parameter and result types of a block or function, by their place among all those of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrow(u32);

impl Arrow {
    /// No parameters and no results.
    pub const EMPTY: Self = Self(0);

    /// No parameters and one result.
    pub fn result(ty: Type) -> Self {
        Self(u32::from(ty.0))
    }

    /// Whether there is known to be neither a parameter nor a result.
    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self == Self::EMPTY
    }
}

/// Some of all types of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    begin: u32,
    end: u32,
}

impl Span {
    pub const EMPTY: Self = Self { begin: 0, end: 0 };

    #[inline]
    pub fn is_empty(self) -> bool {
        self.begin == self.end
    }
}

/// What the bodies of a module are validated against.
pub(crate) struct Facts {
    /// All function types, one after the other, behind one type of each kind.
    all: Vec<Type>,
    /// The same as the engine has them.
    codes: Vec<ValueType>,
    /// Where parameters and results of each arrow stand: one without any, one for each type as a result, then the
    /// module's function types.
    arrows: Vec<(Span, Span)>,
    /// The type of each function.
    functions: Vec<Arrow>,
    /// Type and mutability of each global.
    globals: Vec<(Type, bool)>,
    pub memory: bool,
    /// What is looked up rarely.
    resources: ValidatorResources,
}

impl Facts {
    /// The facts of a module whose sections before its code were validated.
    ///
    /// # Errors
    /// The name of something that is not part of WebAssembly 2.0.
    pub fn new(resources: ValidatorResources) -> Result<Self, &'static str> {
        let mut all: Vec<Type> = (0..Type::COUNT).map(Type).collect();
        let single = |ty: u8| Span {
            begin: u32::from(ty),
            end: u32::from(ty) + 1,
        };
        let mut arrows: Vec<_> = (0..Type::COUNT)
            .map(|ty| (Span::EMPTY, if ty == 0 { Span::EMPTY } else { single(ty) }))
            .collect();
        for index in 0.. {
            let Some(ty) = resources.sub_type_at(index) else {
                break;
            };
            let wasmparser::CompositeInnerType::Func(ty) = &ty.composite_type.inner else {
                return Err("a type that is not a function's");
            };
            let begin = all.len() as u32;
            let middle = append(&mut all, ty.params())?;
            let end = append(&mut all, ty.results())?;
            let params = Span { begin, end: middle };
            arrows.push((params, Span { begin: middle, end }));
        }
        let mut functions = Vec::new();
        while let Some(ty) = resources.type_index_of_function(functions.len() as u32) {
            functions.push(Arrow(ty + u32::from(Type::COUNT)));
        }
        let mut globals = Vec::new();
        while let Some(global) = resources.global_at(globals.len() as u32) {
            let ty = Type::of(global.content_type).ok_or("a type of a global")?;
            globals.push((ty, global.mutable));
        }
        let memory = resources.memory_at(0);
        if memory.is_some_and(|memory| memory.memory64) || resources.memory_at(1).is_some() {
            return Err("memory with 64-bit addresses, or more than one");
        }
        let codes = all.iter().map(|ty| ty.code()).collect();
        let memory = memory.is_some();
        Ok(Self {
            all,
            codes,
            arrows,
            functions,
            globals,
            memory,
            resources,
        })
    }

    #[inline]
    pub fn types(&self, span: Span) -> &[Type] {
        self.all
            .get(span.begin as usize..span.end as usize)
            .unwrap_or_default()
    }

    #[inline]
    pub fn codes(&self, span: Span) -> &[ValueType] {
        self.codes
            .get(span.begin as usize..span.end as usize)
            .unwrap_or_default()
    }

    #[inline]
    pub fn params(&self, arrow: Arrow) -> Span {
        self.arrows
            .get(arrow.0 as usize)
            .map_or(Span::EMPTY, |spans| spans.0)
    }

    #[inline]
    pub fn results(&self, arrow: Arrow) -> Span {
        self.arrows
            .get(arrow.0 as usize)
            .map_or(Span::EMPTY, |spans| spans.1)
    }

    /// The function type of that index.
    #[inline]
    pub fn ty(&self, index: u32) -> Option<Arrow> {
        let arrow = index.checked_add(u32::from(Type::COUNT))?;
        ((arrow as usize) < self.arrows.len()).then_some(Arrow(arrow))
    }

    #[inline]
    pub fn function(&self, index: u32) -> Option<Arrow> {
        self.functions.get(index as usize).copied()
    }

    #[inline]
    pub fn global(&self, index: u32) -> Option<(Type, bool)> {
        self.globals.get(index as usize).copied()
    }

    /// The type of a table's elements; `None` for a table that does not exist, or that has 64-bit indices.
    pub fn table(&self, index: u32) -> Option<Type> {
        let table = self.resources.table_at(index)?;
        if table.table64 {
            return None;
        }
        Type::of_reference(table.element_type)
    }

    /// The type of an element segment's elements.
    pub fn elements(&self, index: u32) -> Option<Type> {
        Type::of_reference(self.resources.element_type_at(index)?)
    }

    /// The number of data segments, if the module has a section that says so.
    pub fn data(&self) -> Option<u32> {
        self.resources.data_count()
    }

    /// Whether something outside function bodies refers to a function.
    pub fn is_referenced(&self, function: u32) -> bool {
        self.resources.is_function_referenced(function)
    }
}

/// Appends types, and gives where they end.
fn append(all: &mut Vec<Type>, types: &[ValType]) -> Result<u32, &'static str> {
    for ty in types {
        all.push(Type::of(*ty).ok_or("a type of values")?);
    }
    Ok(all.len() as u32)
}
