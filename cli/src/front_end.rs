//! Which front end a file is for.
#![allow(unsafe_code)] // Plugins are the user's word.

use std::path::{Path, PathBuf};

use copatch::plugin::{FrontEnd, PluginLibrary, find_plugins};
use copatch_wasm::Wasm;

use crate::{FAILED, Failure};

/// The front end that claims `bytes`: of the plugins named on the command line, the built-in ones, and the plugins found
/// where plugins lie, the first.
pub(crate) fn choose(
    file: &Path,
    bytes: &[u8],
    named: &[PathBuf],
) -> Result<Box<dyn FrontEnd>, Failure> {
    let plugin_failure = |line: String| Failure { code: FAILED, line };
    for path in named {
        // SAFETY: the user says that this library may run here.
        let plugin = unsafe { PluginLibrary::load(path) }
            .map_err(|error| plugin_failure(error.to_string()))?;
        if plugin.try_probe(bytes).map_err(plugin_failure)? {
            return Ok(Box::new(plugin));
        }
    }
    if Wasm.probe(bytes) {
        return Ok(Box::new(Wasm));
    }
    // A plugin that nobody named and that does not work is in nobody's way until it is the one that is missing.
    let mut broken = Vec::new();
    for path in find_plugins() {
        // SAFETY: whoever can put a library where plugins lie could as well change this program or what starts it.
        let claims = unsafe { PluginLibrary::load(&path) }
            .map_err(|error| error.to_string())
            .and_then(|plugin| Ok((plugin.try_probe(bytes)?, plugin)));
        match claims {
            Ok((true, plugin)) => return Ok(Box::new(plugin)),
            Ok((false, _)) => {}
            Err(reason) => broken.push(reason),
        }
    }
    // By its name a module, though not by its content: its front end says best what is wrong with it.
    if file
        .extension()
        .is_some_and(|extension| extension == "wasm")
    {
        return Ok(Box::new(Wasm));
    }
    let mut reason = "byte 0: no front end knows this kind of file".to_owned();
    if !broken.is_empty() {
        reason += &format!("; plugins that do not work: {}", broken.join("; "));
    }
    Err(Failure::of(file, reason))
}
