//! What only the catalog knows, and a rebuild keeps as far as it can be read: uploads in progress, and the ledger.

use crate::catalog::{LedgerEntry, LedgerItem, PartRow, UploadRow};
use crate::core::Core;
use crate::error::{ErrorKind, Result};

/// Taken out of a catalog before it is emptied.
#[derive(Default)]
pub(super) struct Kept {
    uploads: Vec<(UploadRow, Vec<PartRow>)>,
    ledger: Vec<LedgerEntry>,
}

impl Kept {
    pub async fn take(core: &Core) -> Result<Self> {
        let catalog = &core.catalog;
        let (mut uploads, mut ledger) = (Vec::new(), Vec::new());
        while let page = catalog.uploads_after(uploads.last().map(|(row, _): &(UploadRow, _)| row.id), 1000).await?
            && !page.is_empty()
        {
            for row in page {
                let parts = catalog.parts(row.id, 0, usize::MAX).await?;
                uploads.push((row, parts));
            }
        }
        while let page = catalog.ledger_after(ledger.last().map(|line: &LedgerEntry| &line.item), 1000).await?
            && !page.is_empty()
        {
            ledger.extend(page);
        }
        Ok(Self { uploads, ledger })
    }

    pub async fn put_back(self, core: &Core) -> Result<()> {
        let catalog = &core.catalog;
        for (row, parts) in self.uploads {
            let id = row.id;
            match catalog.begin_upload(row).await {
                // Its bucket is gone.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other?,
            }
            for part in parts {
                catalog.put_part(id, part, Vec::new()).await?;
            }
        }
        let mut lines = Vec::new();
        for line in self.ledger {
            let is_there = match &line.item {
                LedgerItem::Shard { data_id, .. } => catalog.unreferenced(&[*data_id]).await?.is_empty(),
                LedgerItem::Copy { batch, copy } => catalog.batch(*batch).await?.is_some_and(|row| *copy < row.copies),
            };
            lines.extend(is_there.then_some(line));
        }
        catalog.ledger_add(lines).await
    }
}
