//! Which targets packs can be built for, as the built-in target files have them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use copatch_spec::Target;
use copatch_spec::target::FeatureSet;
use serde::Serialize;

use crate::error::BuildError;

/// A triple and a feature set that a pack can be built for: `x86_64-unknown-linux-gnu+x86-64-v3`, as files of packs are named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TargetName {
    /// The target triple.
    pub triple: String,
    /// The feature set; empty for the baseline.
    pub features: String,
}

impl TargetName {
    /// Splits `TRIPLE[+FEATURES]`.
    pub fn parse(text: &str) -> Self {
        let (triple, features) = text.split_once('+').unwrap_or((text, ""));
        Self {
            triple: triple.to_owned(),
            features: features.to_owned(),
        }
    }

    /// What the built-in target files say of it, with the changes in a file (see [`Target::changed`]), if one is named.
    ///
    /// # Errors
    /// If there is no file for its architecture, the changes make no sense, or it has no such feature set.
    pub fn resolve(
        &self,
        changes: Option<&Path>,
    ) -> Result<(Target, Option<FeatureSet>), BuildError> {
        let arch = self.triple.split('-').next().unwrap_or("");
        let target = match changes {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|source| BuildError::Io {
                    path: path.to_owned(),
                    source,
                })?;
                Target::changed(&self.triple, &text)
                    .map_err(|flaw| BuildError::Spec(format!("{}: {flaw}", path.display())))?
            }
            None => Target::for_triple(&self.triple).ok_or_else(|| {
                let known = Target::ARCHITECTURES.join(", ");
                let triple = &self.triple;
                BuildError::Spec(format!(
                    "{triple}: no target is called {arch} (known: {known})"
                ))
            })?,
        };
        if self.features.is_empty() {
            return Ok((target, None));
        }
        let set = target.features.get(&self.features).cloned();
        let set = set.ok_or_else(|| {
            let known: Vec<&str> = target.features.keys().map(String::as_str).collect();
            BuildError::Spec(format!(
                "{arch} has no feature set {} (it has {})",
                self.features,
                known.join(", ")
            ))
        })?;
        Ok((target, Some(set)))
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.triple)?;
        match self.features.as_str() {
            "" => Ok(()),
            features => write!(f, "+{features}"),
        }
    }
}

/// A target as `targets` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KnownTarget {
    /// Triple and feature set.
    #[serde(flatten)]
    pub name: TargetName,
    /// Processor features that its packs need.
    pub cpu: Vec<String>,
    /// How many value registers there are of each class.
    pub registers: BTreeMap<String, usize>,
}

/// Every target that packs are made for: of each triple the baseline, then its feature sets.
pub fn known() -> Vec<KnownTarget> {
    let mut known = Vec::new();
    for target in Target::ARCHITECTURES
        .into_iter()
        .filter_map(Target::builtin)
    {
        let classes = target.class.iter();
        let registers: BTreeMap<_, _> = classes
            .map(|(name, class)| (name.clone(), class.registers.len()))
            .collect();
        for triple in target.all_triples() {
            let baseline = [("", &[][..])].into_iter();
            let sets = target.features.iter();
            let sets = sets.map(|(name, set)| (name.as_str(), set.cpu.as_slice()));
            for (features, cpu) in baseline.chain(sets) {
                known.push(KnownTarget {
                    name: TargetName {
                        triple: triple.clone(),
                        features: features.to_owned(),
                    },
                    cpu: cpu.to_vec(),
                    registers: registers.clone(),
                });
            }
        }
    }
    known
}

impl fmt::Display for KnownTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:44}", self.name.to_string())?;
        for (class, count) in &self.registers {
            write!(f, " {count} {class}")?;
        }
        match self.cpu.as_slice() {
            [] => Ok(()),
            cpu => write!(f, "; needs {}", cpu.join(" ")),
        }
    }
}
