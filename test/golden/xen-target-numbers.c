/* Reads target names, one a line, and prints what Xen's own library numbers each. Negative: refused. */
#include <stdio.h>
#include <string.h>

/* Inside libxenlight, in no header. */
extern int libxl__device_disk_dev_number(const char *virtpath, int *pdisk, int *ppartition);

int main(void) {
  char line[256];
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = 0;
    printf("%d\n", libxl__device_disk_dev_number(line, NULL, NULL));
  }
  return 0;
}
