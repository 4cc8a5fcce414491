"""What an administrator sets up: the rights of a bot, and the task to remove what has ended."""

from shlex import quote
from typing import Final

from satchel_firestore.clients import Place

# https://cloud.google.com/firestore/docs/security/iam, https://cloud.google.com/firestore/docs/ttl and
# https://cloud.google.com/firestore/docs/best-practices: "Indexes".
_COMMANDS: Final = """\
# The rights of the service account that the bot runs as, in this database only.
gcloud projects add-iam-policy-binding {project} --member=serviceAccount:ACCOUNT --role=roles/datastore.user \\
  --condition='title=satchel,expression=resource.name=="projects/{project}/databases/{database}"'
# Firestore is to remove sessions that have ended.
gcloud firestore fields ttls update expires_at --enable-ttl {field}
# Nobody queries by these fields: their indexes would only cost time and storage.
gcloud firestore indexes fields update payload --disable-indexes {field}
gcloud firestore indexes fields update expires_at --disable-indexes {field}
gcloud firestore indexes fields update ttl_ms --disable-indexes {field}
"""


def commands(place: Place) -> str:
    """Return the commands of `gcloud`; what is not known yet is in capitals."""
    project, database = place.project or "PROJECT", place.database or "DATABASE"
    group = place.collection.rpartition("/")[2]
    field = f"--collection-group={quote(group)} --database={quote(database)} --project={project}"
    return _COMMANDS.format(project=project, database=database, field=field)
