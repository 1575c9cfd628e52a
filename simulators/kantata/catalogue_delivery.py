"""Delivery records: projects, client groups, templates, tasks, placeholders, allocations, requests.

Source: the vendor's SDK specification (attributes, create and update attributes, associations) and the
Swagger digest (bulk limits, filters); where both speak, the digest wins, being newer.
"""

from __future__ import annotations

from simulators.kantata.schema import declare

declare(
    "workspaces",
    "workspace",
    verbs="list get create update delete",
    subject="Workspace",
    event="workspace",
    bulk=100,
    create_update="title:text! description:text budgeted:bool start_date:date due_date:date currency:currency"
    " access_level:text status_key:int stage:=estimate|project approver_id:>users approver_ids:>>users"
    " workspace_group_ids:>>workspace_groups primary_workspace_group_id:>workspace_groups"
    " rate_card_id:>rate_cards"
    " target_margin:decimal$ require_time_approvals:bool require_expense_approvals:bool"
    " change_orders_enabled:bool tasks_default_non_billable:bool stories_are_fixed_fee_by_default:bool"
    " expenses_in_burn_rate:bool posts_require_privacy_decision:bool consultant_role_name:text"
    " client_role_name:text exclude_archived_stories_percent_complete:bool primary_maven_id:>users"
    " account_color_id:int external_link:text require_notes_on_time_entries:bool time_trackable:bool"
    " revenue_recognition_method:text",
    create_update_derived="price:decimal$",
    create="creator_role:=client|consultant|maven|buyer",
    create_only="change_orders:bool attachment_ids:list organizations:list estimate_scenario_id:int"
    " task_status_set_id:int account_insights_mapping_ids:list actual_fees_includes_expenses:bool"
    " actual_fees_includes_additional_line_items:bool revenue_recognition_method_id:int"
    " revenue_recognition_method_name:text",
    create_update_only="project_tracker_template_id:>project_templates project_template_start_date:date"
    " project_template_assignment_mappings:list project_template_create_unnamed_resources:bool"
    " project_template_weekends_as_workdays:bool project_template_checklist_as_todos:bool"
    " project_template_distribute_hours:bool custom_fields:list participations:list invoice_preference:any",
    update="archived:bool",
    update_only="project_template_before_story_id:>stories",
    read="account_id:text created_at:instant updated_at:instant price_in_cents:int$ creator_id:>users"
    " default_rate:int$",
    hidden="preferences:any",
    derived="effective_due_date:date currency_symbol:text currency_base_unit:int can_create_line_items:bool"
    " can_invite:bool has_budget_access:bool budget_used_in_cents:int$ over_budget:bool$ status:any"
    " percentage_complete:int percent_of_budget_used:int$ total_expenses_in_cents:int$"
    " has_active_timesheet_submissions:bool has_active_expense_report_submissions:bool",
    include="next_uncompleted_milestone>stories creator>users primary_maven>users approver>users"
    " approvers:approver_ids>>users participants:participant_ids>>users"
    " participations:participation_ids>>participations"
    " timesheet_submissions:timesheet_submission_ids>>timesheet_submissions"
    " workspace_groups:workspace_group_ids>>workspace_groups primary_workspace_group>workspace_groups"
    " workspace_resources:workspace_resource_ids>>workspace_resources"
    " workspace_resources_with_unnamed:workspace_resources_with_unnamed_ids>>workspace_resources"
    " status_reports:status_report_ids>>status_reports current_status_report>status_reports"
    " custom_field_values:custom_field_value_ids>>custom_field_values",
    params="archived budgeted by_custom_text_value by_custom_choice_value by_custom_date_value"
    " by_custom_number_value created_after created_before due_date_after due_date_before except"
    " has_participant has_value_for_custom_field_ids include_archived",
)

declare(
    "workspace_groups",
    "workspace_group",
    verbs="list get create update delete",
    subject="WorkspaceGroup",
    create_update="name:text! company:bool contact_name:text email:text phone_number:text address:text"
    " website:text notes:text",
    create_update_only="add_workspace_ids:>>workspaces",
    update_only="remove_workspace_ids:>>workspaces",
    hidden="created_at:instant updated_at:instant",
    include="workspaces:workspace_ids>>workspaces"
    " custom_field_values:custom_field_value_ids>>custom_field_values",
    order="created_at updated_at",
    params="",
)

declare(
    "project_templates",
    "project_template",
    verbs="list get create update",
    create_update="title:text! currency:currency! description:text is_budgeted:bool budget:decimal"
    " duration:int"
    " shared:bool",
    create_update_only="sharing:bool",
    create_update_optional="raw_json:any",
    read="user_id:>users",
    derived="item_count:int",
    include="user>users project_template_assignments:project_template_assignment_ids"
    ">>project_template_assignments",
    params="by_title matching mine",
)

declare(
    "project_template_assignments",
    "project_template_assignment",
    verbs="",
    read="name:text project_template_id:>project_templates",
    hidden="role_id:>roles",
    include="project_template>project_templates",
)

declare(
    "stories",
    "story",
    verbs="list get create update delete",
    subject="Story",
    event="story",
    create_update="title:text! story_type:=task|deliverable|milestone|issue! description:text"
    " parent_id:>stories"
    " start_date:date due_date:date archived:bool assignee_ids:>>users budget_estimate_in_cents:int$"
    " cost_budget_in_cents:int$ time_estimate_in_minutes:int billable:bool percentage_complete:int state:text"
    " fixed_fee:bool weight:int priority:int time_trackable:bool",
    create_update_only="status:text tag_list:text assignments:list",
    create="workspace_id:>workspaces!",
    create_only="sub_stories:list checklist:list project_plan:any",
    read="position:int created_at:instant updated_at:instant creator_id:>users",
    derived="sub_story_count:int root_id:>stories deleted_at:instant budget_used_in_cents:int$"
    " logged_billable_time_in_minutes:int logged_nonbillable_time_in_minutes:int",
    include="workspace>workspaces creator>users parent>stories root>stories assignees:assignee_ids>>users"
    " sub_stories:sub_story_ids>>stories descendants:descendant_ids>>stories ancestors:ancestor_ids>>stories"
    " custom_field_values:custom_field_value_ids>>custom_field_values"
    " current_assignments:current_assignment_ids>>assignments"
    " workspace_resources:workspace_resource_ids>>workspace_resources"
    " workspace_resources_with_unnamed:workspace_resources_with_unnamed_ids>>workspace_resources",
    params="created_after created_before updated_after updated_before workspace_id story_type",
)

declare(
    "assignments",
    "assignment",
    verbs="list get",
    subject="Assignment",
    read="story_id:>stories assignee_id:>users current:bool estimated_minutes:int allocated_minutes:int"
    " resource_id:>workspace_resources created_at:instant updated_at:instant",
    include="story>stories assignee>users",
)

declare(
    "workspace_resources",
    "workspace_resource",
    verbs="list get create update delete",
    subject="WorkspaceResource",
    bulk=200,
    create="workspace_id:>workspaces!",
    create_update="user_id:>users role_id:>roles",
    update="label:text",
    update_only="auto_update_label:bool cost_rate:int bill_rate:int",
    read="participation_id:>participations created_at:instant updated_at:instant"
    " resource_bill_rate:int$ resource_cost_rate:int$ skill_ids:>>skills",
    derived="role_name:text full_name:text workspace_title:text display_label:text allocations_count:int"
    " account_role_name:text role_rate:int$ assignments_count:int deletable:bool total_allocated_minutes:int"
    " earliest_allocation_date:date latest_allocation_date:date role_available_on_rate_card:bool",
    include="participation>participations user>users role>roles workspace>workspaces skills:skill_ids>>skills"
    " pending_resource_request>resource_requests"
    " custom_field_values:custom_field_value_ids>>custom_field_values",
)

declare(
    "workspace_allocations",
    "workspace_allocation",
    verbs="list get create update delete",
    subject="WorkspaceAllocation",
    create_update="start_date:date! end_date:date! minutes:int! hard:bool notes:text",
    create_only="resource_id:>workspace_resources!",
    read="workspace_resource_id:>workspace_resources workspace_id:>workspaces creator_id:>users"
    " updater_id:>users"
    " created_at:instant updated_at:instant",
    derived="percentage:text",
    include="workspace_resource>workspace_resources workspace>workspaces creator>users updater>users",
)

declare(
    "resource_requests",
    "resource_request",
    verbs="list get create update",
    create="resource_id:>workspace_resources approver_ids:>>users",
    create_only="resource_workspace_id:>workspaces resource_role_id:>roles"
    " workspace_allocation_start_date:date"
    " workspace_allocation_end_date:date workspace_allocation_percentage:decimal custom_fields:list",
    update_only="request_resolution_status:=approve|reject|cancel! user_id:>users allocations_state:bool",
    read="status:=new|cancelled|rejected|approved created_at:instant creator_id:>users",
    include="resource>workspace_resources creator>users approvers:approver_ids>>users",
)

declare(
    "participations",
    "participation",
    verbs="list get create update",
    subject="Participation",
    create="workspace_id:>workspaces! user_id:>users! role:text",
    create_update="can_invite:bool can_schedule_their_hours:bool can_schedule_team_hours:bool"
    " access_level:text",
    create_update_only="permissions:any",
    update="cost_in_cents:int$ rate_in_cents:int$ workspace_role_id:>roles",
    update_only="team_lead:bool",
    read="is_team_lead:bool",
    derived="workspace_resource_ids:>>workspace_resources",
    include="user>users workspace>workspaces workspace_role>roles"
    " workspace_resources:workspace_resource_ids>>workspace_resources",
)

declare(
    "status_reports",
    "status_report",
    verbs="list get create update",
    subject="StatusReport",
    create="workspace_id:>workspaces! creator_id:>users",
    create_update="description:text color:text details:any",
    read="created_at:instant updated_at:instant",
    include="workspace>workspaces creator>users",
)
