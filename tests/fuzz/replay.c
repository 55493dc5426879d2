/* Plays the files named on the command line through the harness: the fuzzer's findings without the fuzzer. */
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int count, char **names)
{
    static uint8_t data[65536];
    for (int k = 1; k < count; k++) {
        FILE *file = fopen(names[k], "rb");
        if (!file) {
            perror(names[k]);
            return 2;
        }
        fprintf(stderr, "%s\n", names[k]);
        LLVMFuzzerTestOneInput(data, fread(data, 1, sizeof data, file));
        fclose(file);
    }
    return 0;
}
