"""Satchel sessions in Supabase."""

from satchel_supabase.storage import SupabaseStorage

__all__ = ["SupabaseStorage"]
