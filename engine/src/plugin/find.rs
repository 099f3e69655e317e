//! Where plugins lie.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};

/// The variable that lists plugins: files, or folders of them, separated as in `PATH`.
pub const PLUGIN_PATH: &str = "COPATCH_PLUGINS";

/// The files that may be plugins, in the order in which to try them: what [`PLUGIN_PATH`] lists, then what lies beside the
/// executable. In folders, these are the shared libraries whose names begin with `copatch_`, in order of name.
///
/// Nothing is loaded. A file that is listed by name is returned whether it exists or not.
pub fn find_plugins() -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Some(list) = std::env::var_os(PLUGIN_PATH) {
        for path in std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()) {
            if path.is_dir() {
                found.extend(libraries(&path));
            } else {
                found.push(path);
            }
        }
    }
    if let Ok(exe) = std::env::current_exe()
        && let Some(dir) = exe.parent()
    {
        found.extend(libraries(dir));
    }
    found
}

/// The libraries in a folder that are named as plugins are; none if it cannot be read.
fn libraries(dir: &Path) -> Vec<PathBuf> {
    let named = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| {
            name.starts_with(&format!("{DLL_PREFIX}copatch_")) && name.ends_with(DLL_SUFFIX)
        })
    };
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(named)
        .collect();
    paths.sort();
    paths
}
