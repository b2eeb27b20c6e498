"""An evaluate job: from its row to the published figures."""
