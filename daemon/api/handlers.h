/* The handlers behind the method table, one a method: NOUN_VERB_handle answers the call, now or
 * later. Parameters are checked already against the method's row. */
#ifndef SNAPVM_API_HANDLERS_H
#define SNAPVM_API_HANDLERS_H

struct call;
struct domain;

void rpc_discover_handle(struct call *call);

void daemon_info_handle(struct call *call);
void daemon_metrics_handle(struct call *call);
void daemon_reload_handle(struct call *call);

void domain_define_handle(struct call *call);
void domain_undefine_handle(struct call *call);
void domain_list_handle(struct call *call);
void domain_get_handle(struct call *call);
void domain_blockdev_handle(struct call *call);
void domain_check_handle(struct call *call);

void snapshot_create_handle(struct call *call);
void snapshot_list_handle(struct call *call);
void snapshot_get_handle(struct call *call);
void snapshot_current_handle(struct call *call);
void snapshot_xml_handle(struct call *call);
void snapshot_redefine_handle(struct call *call);
void snapshot_delete_handle(struct call *call);
void snapshot_export_handle(struct call *call);
void snapshot_import_handle(struct call *call);
void snapshot_revert_handle(struct call *call);
/* Of one that is there, with its data; the request was begun. */
void snapshot_delete_data(struct call *call, struct domain *domain);

void block_commit_handle(struct call *call);
void block_copy_handle(struct call *call);
void block_pull_handle(struct call *call);

void job_list_handle(struct call *call);
void job_get_handle(struct call *call);
void job_wait_handle(struct call *call);
void job_pivot_handle(struct call *call);
void job_cancel_handle(struct call *call);
void job_set_speed_handle(struct call *call);
void job_pause_handle(struct call *call);
void job_resume_handle(struct call *call);
void job_forget_handle(struct call *call);

void guest_freeze_handle(struct call *call);
void guest_thaw_handle(struct call *call);
void guest_status_handle(struct call *call);

void event_subscribe_handle(struct call *call);
void event_unsubscribe_handle(struct call *call);

#endif
