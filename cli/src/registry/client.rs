//! What is spoken with a registry.

use std::collections::BTreeMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use copatch::spec::limits::PACK_BYTES;
use copatch::spec::pack::signature_file;
use oci_client::client::{ClientConfig, ClientProtocol, ImageLayer};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{
    ImageIndexEntry, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciDescriptor,
    OciImageIndex, OciImageManifest, OciManifest,
};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

use super::{NAME, failed, is_safe};
use crate::{Failure, MISUSED};

/// The media types of a pack's artefact.
const CONFIG_TYPE: &str = "application/vnd.copatch.pack.config.v1+json";
const PACK_TYPE: &str = "application/vnd.copatch.pack.v1";
const SIGNATURE_TYPE: &str = "application/vnd.copatch.pack.minisig.v1";
/// Bytes that a signature file may have.
const SIGNATURE_BYTES: usize = 4096;

/// A pack with its signature.
pub(super) struct Signed {
    pub pack: Vec<u8>,
    pub signature: String,
    /// Both are in the folder already.
    pub is_cached: bool,
}

/// A place in a registry.
pub(super) struct Registry {
    runtime: tokio::runtime::Runtime,
    client: Client,
    reference: Reference,
    auth: RegistryAuth,
}

/// The packs of a reference.
pub(super) struct Index(OciImageIndex);

/// One of them.
pub(super) struct Entry {
    pub name: String,
    digest: String,
}

impl Index {
    /// The packs, ascending by name; entries of other kinds, or of names that lead elsewhere, are passed over.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self.0.manifests.iter().filter_map(entry).collect();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        entries
    }
}

fn entry(entry: &ImageIndexEntry) -> Option<Entry> {
    let name = entry.annotations.as_ref()?.get(NAME)?;
    is_safe(name).then(|| Entry {
        name: name.clone(),
        digest: entry.digest.clone(),
    })
}

impl Registry {
    pub fn open(reference: &str, plain_http: bool, patience: Duration) -> Result<Self, Failure> {
        let reference: Reference = reference.parse().map_err(|error| Failure {
            code: MISUSED,
            line: format!("{reference}: {error}"),
        })?;
        // Another part of the program may have chosen one; any does.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = ClientConfig {
            protocol: match plain_http {
                true => ClientProtocol::Http,
                false => ClientProtocol::Https,
            },
            connect_timeout: Some(patience),
            read_timeout: Some(patience),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|error| failed(error.to_string()))?;
        let variable = |name| std::env::var(name).ok();
        let user = variable("COPATCH_REGISTRY_USER").zip(variable("COPATCH_REGISTRY_PASSWORD"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            runtime,
            client,
            reference,
            auth: user.map_or(RegistryAuth::Anonymous, |(name, password)| {
                RegistryAuth::Basic(name, password)
            }),
        })
    }

    /// The reference, for messages.
    pub fn name(&self) -> String {
        self.reference.whole()
    }

    /// Waits for what a registry answers. The client trusts that some of that (a token, a location) is well formed; where it is
    /// not, this is the registry's failure.
    fn wait<T>(
        &self,
        what: &str,
        answer: impl Future<Output = oci_client::errors::Result<T>>,
    ) -> Result<oci_client::errors::Result<T>, Failure> {
        let wait = AssertUnwindSafe(|| self.runtime.block_on(answer));
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let answer = std::panic::catch_unwind(wait);
        std::panic::set_hook(hook);
        answer.map_err(|_| {
            failed(format!(
                "{}: {what}: the registry's answer is malformed",
                self.name()
            ))
        })
    }

    fn fault(&self, what: &str, error: &dyn std::error::Error) -> Failure {
        // The cause of a network failure is at the end of the chain; other errors say themselves what theirs is.
        let mut text = format!("{}: {what}: {error}", self.name());
        let mut cause = error.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.contains(&more) {
                text = text + ": " + &more;
            }
            cause = error.source();
        }
        failed(text)
    }

    /// The packs that are there.
    pub fn index(&self) -> Result<Index, Failure> {
        let found = self.pull_index()?;
        found
            .map(Index)
            .ok_or_else(|| failed(format!("{}: there is nothing of that name", self.name())))
    }

    /// The index; `None` if there is nothing of that name yet.
    fn pull_index(&self) -> Result<Option<OciImageIndex>, Failure> {
        let pulled = self.client.pull_manifest(&self.reference, &self.auth);
        match self.wait("the index", pulled)? {
            Ok((OciManifest::ImageIndex(index), _)) => Ok(Some(index)),
            Ok(_) => Err(failed(format!("{}: not an index of packs", self.name()))),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(self.fault("the index", &error)),
        }
    }

    /// Downloads a pack and its signature, unless the file at `path` and its signature are the same.
    pub fn fetch(&self, entry: &Entry, path: &Path) -> Result<Signed, Failure> {
        let reference = self.reference.clone_with_digest(entry.digest.clone());
        let pulled = self.client.pull_image_manifest(&reference, &self.auth);
        let (manifest, _) = self
            .wait(&entry.name, pulled)?
            .map_err(|error| self.fault(&entry.name, &error))?;
        let layer = |media_type: &str| {
            let found = manifest
                .layers
                .iter()
                .find(|layer| layer.media_type == media_type);
            found.ok_or_else(|| failed(format!("{} {}: no {media_type}", self.name(), entry.name)))
        };
        let (pack, signature) = (layer(PACK_TYPE)?, layer(SIGNATURE_TYPE)?);
        let here = local(path, pack).zip(local(&signature_file(path), signature));
        let is_cached = here.is_some();
        let (pack, signature) = match here {
            Some(both) => both,
            None => (
                self.blob(entry, pack, PACK_BYTES)?,
                self.blob(entry, signature, SIGNATURE_BYTES)?,
            ),
        };
        Ok(Signed {
            pack,
            signature: String::from_utf8_lossy(&signature).into_owned(),
            is_cached,
        })
    }

    /// Downloads a blob; the client checks its digest.
    fn blob(&self, entry: &Entry, blob: &OciDescriptor, most: usize) -> Result<Vec<u8>, Failure> {
        let mut out = Bounded {
            bytes: Vec::new(),
            most,
        };
        // By its digest alone: addresses elsewhere, which a manifest may give, are not followed.
        let digest = blob.digest.as_str();
        let pulled = self.client.pull_blob(&self.reference, digest, &mut out);
        self.wait(&entry.name, pulled)?
            .map_err(|error| self.fault(&entry.name, &error))?;
        Ok(out.bytes)
    }

    /// Uploads packs, then the index with them in the place of those of the same names.
    pub fn push(&self, artefacts: Vec<(String, Signed)>) -> Result<(), Failure> {
        if self.reference.digest().is_some() {
            let line = format!("{}: push to a tag, not to a digest", self.name());
            return Err(Failure {
                code: MISUSED,
                line,
            });
        }
        let mut index = self.pull_index()?.unwrap_or_else(empty_index);
        let pushed = async {
            let push = oci_client::RegistryOperation::Push;
            self.client.auth(&self.reference, &self.auth, push).await?;
            for (name, signed) in artefacts {
                let new = self.push_one(&name, signed).await?;
                let is_new = |old: &ImageIndexEntry| entry(old).is_none_or(|old| old.name != name);
                index.manifests.retain(is_new);
                index.manifests.push(new);
            }
            self.client
                .push_manifest_list(&self.reference, &self.auth, index)
                .await
        };
        let pushed = self.wait("push", pushed)?;
        pushed
            .map(|_| ())
            .map_err(|error| self.fault("push", &error))
    }

    async fn push_one(
        &self,
        name: &str,
        signed: Signed,
    ) -> Result<ImageIndexEntry, OciDistributionError> {
        let mut blobs = Vec::new();
        for (media_type, bytes) in [
            (CONFIG_TYPE, b"{}".to_vec()),
            (PACK_TYPE, signed.pack),
            (SIGNATURE_TYPE, signed.signature.into_bytes()),
        ] {
            let layer = ImageLayer::new(bytes, media_type.to_owned(), None);
            let descriptor = OciDescriptor {
                media_type: media_type.to_owned(),
                digest: layer.sha256_digest(),
                size: layer.data.len() as i64,
                ..OciDescriptor::default()
            };
            self.client
                .push_blob(&self.reference, layer.data, &descriptor.digest)
                .await?;
            blobs.push(descriptor);
        }
        let manifest = OciImageManifest {
            config: blobs.remove(0),
            layers: blobs,
            media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
            ..OciImageManifest::default()
        };
        let bytes = serde_json::to_vec(&manifest)?;
        let digest = ImageLayer::new(bytes.clone(), String::new(), None).sha256_digest();
        let size = bytes.len() as i64;
        // As a tag, since the client's way round a registry that answers without a location expects one.
        let (registry, repository) = (self.reference.registry(), self.reference.repository());
        let reference = Reference::with_tag(registry.into(), repository.into(), digest.clone());
        let content_type = OCI_IMAGE_MEDIA_TYPE
            .parse()
            .map_err(|_| OciDistributionError::GenericError(None))?;
        self.client
            .push_manifest_raw(&reference, bytes, content_type)
            .await?;
        Ok(ImageIndexEntry {
            media_type: OCI_IMAGE_MEDIA_TYPE.to_owned(),
            digest,
            size,
            platform: None,
            artifact_type: None,
            annotations: Some(BTreeMap::from([(NAME.to_owned(), name.to_owned())])),
        })
    }
}

fn empty_index() -> OciImageIndex {
    OciImageIndex {
        schema_version: 2,
        media_type: Some(OCI_IMAGE_INDEX_MEDIA_TYPE.to_owned()),
        manifests: Vec::new(),
        artifact_type: None,
        annotations: None,
    }
}

/// Whether an error says that there is nothing of a name yet.
fn is_missing(error: &OciDistributionError) -> bool {
    use OciErrorCode::{ManifestUnknown, NameUnknown, NotFound};
    match error {
        OciDistributionError::RegistryError { envelope, .. } => envelope
            .errors
            .iter()
            .any(|error| matches!(error.code, ManifestUnknown | NameUnknown | NotFound)),
        OciDistributionError::ServerError { code, .. } => *code == 404,
        _ => false,
    }
}

/// A file, if it is what a descriptor says.
fn local(path: &Path, blob: &OciDescriptor) -> Option<Vec<u8>> {
    let bytes = std::fs::read(path).ok()?;
    let digest = ImageLayer::new(bytes.clone(), String::new(), None).sha256_digest();
    (digest == blob.digest).then_some(bytes)
}

/// Takes so many bytes and no more, whatever a registry sends.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl tokio::io::AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.bytes.len() + bytes.len() > self.most {
            let what = format!("more than {} bytes", self.most);
            return Poll::Ready(Err(io::Error::other(what)));
        }
        self.bytes.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
