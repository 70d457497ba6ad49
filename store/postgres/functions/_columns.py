"""What calls of several subjects select or pass."""

from __future__ import annotations

SETTING = (
    "r.okx_uid, r.telegram_id, r.setting_type, r.version, r.settings::text as document, r.updated_at, r.deleted_at"
)


MISSING = "case when r.deleted_at is null then public.missing_setting_keys(r.setting_type, r.settings) end missing_keys"
SAVED = f"{SETTING}, {MISSING}"
