"""Google's emulator of Firestore."""

from typing import Final

from satchel_conformance.backends import JAVA, Backend, container

FIRESTORE: Final = Backend(
    "firestore",
    container(
        "google/cloud-sdk:emulators",
        8080,
        ready="Dev App Server is now running",
        url="firestore://satchel-test/sessions?emulator={host}:{port}",
        command="gcloud beta emulators firestore start --host-port=0.0.0.0:8080",
        **JAVA,
    ),
)
