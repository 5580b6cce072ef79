/* Words of libvirt and ours, for the reader and the writer of <domainsnapshot>. */
#ifndef SNAPVM_XML_SNAPSHOT_WORDS_H
#define SNAPVM_XML_SNAPSHOT_WORDS_H

/* The contract's state for a <state>; NULL for one that libvirt does not know. */
const char *snapshot_state_of_word(const char *word);

#endif
