// Runs SQL from a file and prints rows: sqlite SCRIPT DATABASE
#include <stdio.h>
#include <stdlib.h>
#include "sqlite3.h"

static int row(void *unused, int columns, char **values, char **names) {
    (void)unused, (void)names;
    for (int at = 0; at < columns; at++) printf("%s%s", at ? "|" : "", values[at] ? values[at] : "NULL");
    putchar('\n');
    return 0;
}

int main(int argc, char **argv) {
    FILE *script = argc == 3 ? fopen(argv[1], "rb") : NULL;
    static char text[1 << 20];
    if (!script || fread(text, 1, sizeof text - 1, script) == 0) return perror("sqlite SCRIPT DATABASE"), 2;
    sqlite3 *db;
    char *error = NULL;
    int code = sqlite3_open_v2(argv[2], &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix-none");
    if (code == SQLITE_OK) code = sqlite3_exec(db, text, row, NULL, &error);
    if (code != SQLITE_OK) printf("error %d: %s\n", code, error ? error : sqlite3_errmsg(db));
    if (sqlite3_close(db) != SQLITE_OK) puts("it was not closed");
    return code;
}
