/* oltr recognises the long tail at the edge and says open for what it does not know.
 *
 * A model is loaded once and may be shared by threads. A session works on one photo at a time: each thread makes its own.
 * Every function that can fail returns a status; oltr_error_text() then says what was wrong and what to do about it.
 *
 * Texts are UTF-8. Those of a model and its answers live until the model and all of its sessions are freed.
 */
#ifndef OLTR_H
#define OLTR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Why a function failed. Further values may be added. */
typedef enum oltr_status {
    OLTR_OK = 0,
    OLTR_NOT_FOUND = 1,   /* a file does not exist */
    OLTR_IO = 2,          /* the system failed to read or write */
    OLTR_BAD_IMAGE = 3,   /* a photo cannot be decoded */
    OLTR_BAD_MODEL = 4,   /* a model file is damaged, or has what oltr cannot run */
    OLTR_LIMIT = 5,       /* something is larger than its bound */
    OLTR_BAD_INPUT = 6,   /* an argument does not fit */
    OLTR_UNAVAILABLE = 7, /* a source is not there */
    OLTR_BUSY = 8,        /* another process holds what is needed */
    OLTR_CONFIG = 9,      /* settings contradict each other */
    OLTR_INTERNAL = 10    /* a defect of oltr itself */
} oltr_status;

typedef struct oltr_model oltr_model;
typedef struct oltr_session oltr_session;

/* What one photo shows, and why. */
typedef struct oltr_answer {
    int32_t known;             /* 1: a class, known or enrolled; 0: open */
    int32_t class_index;       /* place of the class among the logits; -1 if open or enrolled */
    const char *label;         /* id of the class, or the name of the enrolled one; NULL if open */
    const char *name;          /* name of the class for people; NULL if open */
    float probability;         /* of the most probable class, 0 to 1 */
    float reachability;        /* 10 / distance to the nearest centroid */
    float threshold;           /* the reachability that a photo of the most probable class needs */
    float nearest_distance;    /* distance to the nearest centroid */
    int32_t nearest_index;     /* the class of that centroid: what the photo resembles */
    const char *nearest_label; /* its id */
    const char *nearest_name;  /* its name for people */
} oltr_answer;

/* The narrowest name of a photo that is right as often as its bundle promises. */
typedef struct oltr_taxon {
    const char *rank;    /* "label" for one class, "species" to "kingdom" for a taxon */
    const char *name;    /* the taxon; of one class its name for people */
    float probability;   /* sum of the probabilities of its classes, 0 to 1 */
    const char *of_rank; /* of one class: the narrowest taxon that it is of; NULL where the bundle has none */
    const char *of_name;
    uint64_t gbif;       /* key of the GBIF backbone; 0 if unknown */
    uint64_t worms;      /* AphiaID of the World Register of Marine Species; 0 if unknown */
} oltr_taxon;

/* The version of the library, as "0.1.0". */
const char *oltr_version(void);

/* What the last function that failed in this thread said; "" if none has. Valid until the next call in this thread. */
const char *oltr_error_text(void);

/* The word for a status in the program's JSON: "bad-image". */
const char *oltr_status_name(oltr_status status);

/* Loads the bundle at `path`, or the built-in one if that is NULL, with the classes enrolled beside it. `threads` work on
 * one photo, 1 to 256. */
oltr_status oltr_model_load(const char *path, uint32_t threads, oltr_model **model);

/* As oltr_model_load, from `length` bytes in memory, which are not needed afterwards; NULL is an error here, and there are no
 * enrolled classes. */
oltr_status oltr_model_from_memory(const uint8_t *bytes, size_t length, uint32_t threads, oltr_model **model);

/* Frees a model; NULL is fine. Its sessions go on. */
void oltr_model_free(oltr_model *model);

/* Number of known classes; id and name of one, NULL for an index beyond. */
size_t oltr_model_classes(const oltr_model *model);
const char *oltr_model_label(const oltr_model *model, size_t index);
const char *oltr_model_name(const oltr_model *model, size_t index);

/* A session. */
oltr_status oltr_session_new(const oltr_model *model, oltr_session **session);

/* Frees a session; NULL is fine. */
void oltr_session_free(oltr_session *session);

/* What the photo at `path` shows. */
oltr_status oltr_classify_file(oltr_session *session, const char *path, oltr_answer *answer);

/* What an encoded photo (JPEG, PNG, ...) of `length` bytes shows. */
oltr_status oltr_classify_encoded(oltr_session *session, const uint8_t *bytes, size_t length, oltr_answer *answer);

/* What `width` x `height` pixels of R, G, B show; rows begin `stride` bytes apart, 3 x width or more. */
oltr_status oltr_classify_rgb(oltr_session *session, const uint8_t *pixels, uint32_t width, uint32_t height, size_t stride,
                              oltr_answer *answer);

/* The name of the last photo: 1 and `taxon` is filled; 0 where no name is sure enough, where the bundle tells no names, of an
 * enrolled class, and before the first photo. */
int32_t oltr_session_taxon(const oltr_session *session, oltr_taxon *taxon);

/* The network's outputs for the last photo; NULL and 0 for one that the network does not have, or before the first. Valid
 * until the session is used again. */
const float *oltr_session_logits(const oltr_session *session, size_t *length);
const float *oltr_session_distances(const oltr_session *session, size_t *length);
const float *oltr_session_features(const oltr_session *session, size_t *length);

#ifdef __cplusplus
}
#endif

#endif
