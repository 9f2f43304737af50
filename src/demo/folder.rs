//! The demo's own folder under the system's temporary one: private, and gone at the end.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Removed with all its contents when dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes a new folder that only this user can look into.
    pub(super) fn create() -> io::Result<Folder> {
        // The process id alone would do, if nobody could have put a folder of that name there before.
        let mut random = [0; 4];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let name = format!("sqluice-demo-{:08x}", u32::from_ne_bytes(random));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Folder { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The user id that the folder, and so this process, has.
    pub(super) fn owner(&self) -> io::Result<u32> {
        Ok(fs::metadata(&self.path)?.uid())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays in the temporary folder; there is nobody left to tell.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Copies a folder with all in it.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_private_and_goes_with_all_that_was_put_into_it() {
        let folder = Folder::create().expect("a folder");
        let path = folder.path().to_owned();
        assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o777, 0o700);
        fs::create_dir(path.join("a")).expect("room");
        fs::write(path.join("a/file"), b"content").expect("room");
        copy(&path.join("a"), &path.join("b")).expect("a copy");
        assert_eq!(fs::read(path.join("b/file")).expect("the copy"), b"content");
        drop(folder);
        assert!(!path.exists());
    }
}
