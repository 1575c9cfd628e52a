"""Account-level records: users, roles, skills, rate cards, custom fields, references, events.

Source: the vendor's SDK specification and the Swagger digest, as in ``catalogue_delivery``.
"""

from __future__ import annotations

from simulators.kantata.schema import declare

declare(
    "users",
    "user",
    verbs="list get update",
    subject="User",
    update="full_name:text! headline:text email_address:text",
    read="photo_path:text disabled:bool account_id:text role_id:>roles account_permission:text"
    " account_membership_id:int",
    include="role>roles custom_field_values:custom_field_value_ids>>custom_field_values",
)
declare(
    "roles",
    "role",
    verbs="list get create update",
    subject="Role",
    create_update="name:text!",
)
declare(
    "skills",
    "skill",
    verbs="list get create update",
    subject="Skill",
    create_update="name:text! max_level:int description:text skill_category_id:int role_ids:>>roles",
    read="created_at:instant updated_at:instant",
    include="roles:role_ids>>roles",
)
declare(
    "rate_card_sets",
    "rate_card_set",
    verbs="list get create update",
    create_update="title:text!",
    create_only="clone_version_id:>rate_card_set_versions",
    read="account_default:bool",
    derived="active_currencies:list default_currencies:list destroyable:bool",
    include="rate_cards:rate_card_ids>>rate_cards"
    " rate_card_set_versions:rate_card_set_version_ids>>rate_card_set_versions",
)
declare(
    "rate_card_set_versions",
    "rate_card_set_version",
    verbs="list get create update",
    create="rate_card_set_id:>rate_card_sets!",
    create_update="effective_date:date",
    create_only="clone_id:>rate_card_set_versions",
    derived="active:bool used_currencies:list",
    include="rate_card_set>rate_card_sets rate_card_versions:rate_card_version_ids>>rate_card_versions",
)
declare(
    "rate_cards",
    "rate_card",
    verbs="list get create update",
    subject="RateCard",
    create="rate_card_set_id:>rate_card_sets!",
    create_update="currency:currency!",
    create_only="rate_card_set_version_id:>rate_card_set_versions",
    derived="uses:int",
    include="rate_card_set>rate_card_sets rate_card_versions:rate_card_version_ids>>rate_card_versions"
    " effective_rate_card_version>rate_card_versions",
)
declare(
    "rate_card_versions",
    "rate_card_version",
    verbs="list get update",
    update="default_rate:int",
    read="rate_card_id:>rate_cards rate_card_set_version_id:>rate_card_set_versions",
    include="rate_card>rate_cards rate_card_set_version>rate_card_set_versions"
    " rate_card_roles:rate_card_role_ids>>rate_card_roles",
)
declare(
    "rate_card_roles",
    "rate_card_role",
    verbs="list get create update",
    create="rate_card_version_id:>rate_card_versions! role_id:>roles!",
    create_update="rate:int!",
    include="role>roles rate_card_version>rate_card_versions",
)
declare(
    "custom_field_sets",
    "custom_field_set",
    verbs="list get create update",
    subject="CustomFieldSet",
    create_update="name:text! subject_type:text!",
    read="created_at:instant updated_at:instant",
    include="custom_fields:custom_field_ids>>custom_fields",
)
declare(
    "custom_fields",
    "custom_field",
    verbs="list get create update",
    subject="CustomField",
    create_update="name:text! value_type:=string|date|number|currency|single|multi default_text:text"
    " unique_constraint:bool custom_field_set_id:>custom_field_sets write_access:text read_access:text"
    " hidden_in_user_interface:bool",
    create_update_only="choices:list",
    update="available_on_estimates:bool available_to_resources:bool",
    read="created_at:instant updated_at:instant creator_id:>users currency:currency",
    derived="values_count:int has_values:bool",
    include="creator>users choices:choice_ids>>custom_field_choices custom_field_set>custom_field_sets",
)
declare(
    "custom_field_choices",
    "custom_field_choice",
    verbs="list get",
    subject="CustomFieldChoice",
    read="label:text custom_field_id:>custom_fields created_at:instant updated_at:instant",
    hidden="removed:bool",
    include="custom_field>custom_fields",
)
declare(
    "custom_field_values",
    "custom_field_value",
    verbs="list get create update delete",
    create="subject_type:text! subject_id:id! custom_field_id:>custom_fields!",
    create_update="value:any!",
    read="created_at:instant updated_at:instant setter_id:>users",
    derived="display_value:text can_edit:bool type:text account_id:text custom_field_name:text",
    include="setter>users custom_field>custom_fields",
    params="subject_type subject_id created_after created_before updated_after updated_before",
)
declare(
    "external_references",
    "external_reference",
    verbs="list get delete",
    create="service_name:text! service_model:text! service_model_ref:text! subject_type:text! subject_id:id!"
    " status:=successful|pending|failed external_link:text external_message:text external_status:text"
    " locked:bool",
    read="created_at:instant updated_at:instant last_synced_at:instant",
    order="created_at last_synced_at",
    default_order="created_at:desc",
    params="subject_type subject_id service_name service_model service_model_ref status external_status"
    " external_message last_synced_after updated_after",
)
declare(
    "subscribed_events",
    "subscribed_event",
    verbs="list",
    read="event_type:text account_id:text user_id:text subject_id:id subject_type:text"
    " subject_changed_at:instant created_at:instant updated_at:instant",
    read_optional="previous_payload:any current_payload:any payload_changes:any",
    order="created_at",
    default_order="created_at:desc",
    params="created_after created_before event_types most_recent most_recent_by_event_type subject_id"
    " subject_type user_ids",
)
