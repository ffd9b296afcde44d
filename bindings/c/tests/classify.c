/* classify PHOTO: one line, what the photo shows. classify MODEL PHOTO: the name above its class that a bundle tells. classify
 * --bad: whether what is wrong gets a status and a text. */
#include <oltr.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition)                                                                                                   \
    do {                                                                                                                    \
        if (!(condition)) {                                                                                                 \
            fprintf(stderr, "%s:%d: %s does not hold; last error: %s\n", __FILE__, __LINE__, #condition, oltr_error_text()); \
            return 1;                                                                                                       \
        }                                                                                                                   \
    } while (0)

static int bad(void) {
    oltr_model *model = NULL;
    oltr_session *session = NULL;
    oltr_answer answer;
    oltr_taxon taxon;
    size_t length = 7;
    uint8_t pixels[8 * 8 * 3 + 8 * 5];
    memset(pixels, 128, sizeof pixels);
    EXPECT(strcmp(oltr_error_text(), "") == 0);
    EXPECT(oltr_model_load("no/such.onnx", 1, &model) == OLTR_NOT_FOUND && model == NULL);
    EXPECT(strstr(oltr_error_text(), "no/such.onnx") != NULL);
    EXPECT(strcmp(oltr_status_name(OLTR_NOT_FOUND), "not-found") == 0);
    EXPECT(strcmp(oltr_status_name((oltr_status)99), "unknown") == 0);
    EXPECT(oltr_model_load(NULL, 0, &model) == OLTR_BAD_INPUT);
    EXPECT(oltr_model_load(NULL, 1, NULL) == OLTR_BAD_INPUT);
    EXPECT(oltr_model_from_memory(pixels, sizeof pixels, 1, &model) == OLTR_BAD_MODEL);
    EXPECT(oltr_model_from_memory(NULL, 3, 1, &model) == OLTR_BAD_INPUT);
    EXPECT(oltr_session_new(NULL, &session) == OLTR_BAD_INPUT);
    EXPECT(oltr_model_load(NULL, 1, &model) == OLTR_OK);
    EXPECT(oltr_model_classes(model) > 0 && oltr_model_label(model, 0) != NULL && oltr_model_name(model, 0) != NULL);
    EXPECT(oltr_model_label(model, oltr_model_classes(model)) == NULL && oltr_model_label(NULL, 0) == NULL);
    EXPECT(oltr_session_new(model, NULL) == OLTR_BAD_INPUT);
    EXPECT(oltr_session_new(model, &session) == OLTR_OK);
    oltr_model_free(model); /* The session goes on. */
    EXPECT(oltr_session_logits(session, &length) == NULL && length == 0);
    EXPECT(oltr_session_taxon(session, &taxon) == 0 && oltr_session_taxon(NULL, &taxon) == 0);
    EXPECT(oltr_classify_file(session, "no/such.jpg", &answer) == OLTR_NOT_FOUND);
    EXPECT(oltr_classify_file(session, NULL, &answer) == OLTR_BAD_INPUT);
    EXPECT(oltr_classify_file(NULL, "cup.jpg", &answer) == OLTR_BAD_INPUT);
    EXPECT(oltr_classify_encoded(session, pixels, sizeof pixels, &answer) == OLTR_BAD_IMAGE);
    EXPECT(oltr_classify_rgb(session, pixels, 0, 8, 24, &answer) == OLTR_BAD_INPUT);
    EXPECT(oltr_classify_rgb(session, pixels, 8, 8, 23, &answer) == OLTR_BAD_INPUT);
    EXPECT(oltr_classify_rgb(session, NULL, 8, 8, 24, &answer) == OLTR_BAD_INPUT);
    EXPECT(oltr_classify_rgb(session, pixels, 8, 8, (size_t)-1, &answer) == OLTR_BAD_INPUT);
    EXPECT(oltr_classify_rgb(session, pixels, 8, 8, 24, NULL) == OLTR_BAD_INPUT);
    /* After all of this it still answers; rows with a gap between them are as those without. */
    EXPECT(oltr_classify_rgb(session, pixels, 8, 8, 24, &answer) == OLTR_OK);
    float probability = answer.probability;
    for (int row = 0; row < 8; row++) memset(pixels + row * 29 + 24, 255, row < 7 ? 5 : 0);
    EXPECT(oltr_classify_rgb(session, pixels, 8, 8, 29, &answer) == OLTR_OK && answer.probability == probability);
    EXPECT(oltr_session_logits(session, &length) != NULL && length > 0);
    EXPECT(oltr_session_features(session, NULL) != NULL);
    EXPECT(oltr_session_taxon(session, NULL) == 0 && oltr_session_taxon(session, &taxon) == 0);
    oltr_session_free(session);
    oltr_session_free(NULL);
    oltr_model_free(NULL);
    return 0;
}

static int name(const char *bundle, const char *photo) {
    oltr_model *model = NULL;
    oltr_session *session = NULL;
    oltr_answer answer;
    oltr_taxon t;
    EXPECT(oltr_model_load(bundle, 1, &model) == OLTR_OK && oltr_session_new(model, &session) == OLTR_OK);
    EXPECT(oltr_classify_file(session, photo, &answer) == OLTR_OK);
    if (oltr_session_taxon(session, &t)) {
        printf("%s\t%s\t%.9g\t%s\t%s\t%llu\t%llu\n", t.rank, t.name, t.probability, t.of_rank ? t.of_rank : "-",
               t.of_name ? t.of_name : "-", (unsigned long long)t.gbif, (unsigned long long)t.worms);
    } else {
        puts("-");
    }
    oltr_session_free(session);
    oltr_model_free(model);
    return 0;
}

int main(int argc, char **argv) {
    oltr_model *model = NULL;
    oltr_session *session = NULL;
    oltr_answer a;
    if (argc == 3) return name(argv[1], argv[2]);
    if (argc != 2) return 2;
    if (strcmp(argv[1], "--bad") == 0) return bad();
    if (oltr_model_load(NULL, 1, &model) || oltr_session_new(model, &session) || oltr_classify_file(session, argv[1], &a)) {
        fprintf(stderr, "%s\n", oltr_error_text());
        return 1;
    }
    printf("%s\t%s\t%.9g\t%.9g\t%.9g\t%s\t%.9g\n", a.known ? "known" : "open", a.label ? a.label : "-", a.probability,
           a.reachability, a.threshold, a.nearest_label, a.nearest_distance);
    oltr_session_free(session);
    oltr_model_free(model);
    return 0;
}
