// Churns the allocator: binary search trees and linked lists of odd sizes are built, searched, moved and freed.
// Work: rounds.
#include "kernel.h"

typedef struct Node {
    struct Node *left, *right;
    uint32_t key, size;
} Node;
typedef struct Item {
    struct Item *next;
    uint32_t length;
    uint8_t data[];
} Item;

static Node *insert(Node *root, uint32_t key, uint32_t size) {
    Node **at = &root;
    while (*at) {
        if ((*at)->key == key)
            return root;
        at = key < (*at)->key ? &(*at)->left : &(*at)->right;
    }
    Node *n = malloc(sizeof(Node) + size);
    if (!n)
        exit(1);
    *n = (Node){NULL, NULL, key, size};
    *at = n;
    return root;
}

NOINLINE static uint32_t sum_and_free(Node *n) {
    if (!n)
        return 0;
    uint32_t l = sum_and_free(n->left), r = sum_and_free(n->right);
    uint32_t sum = mix(l, n->key) + mix(r, n->size);
    free(n);
    return sum;
}

NOINLINE static uint32_t lists(uint32_t *seed) {
    Item *heads[64] = {NULL};
    uint32_t check = 0;
    for (int i = 0; i < 4000; i++) {
        uint32_t r = next_random(seed), slot = r >> 26;
        if (r & 3) {
            uint32_t length = 1 + (r >> 8 & 127);
            Item *item = malloc(sizeof(Item) + length);
            if (!item)
                exit(1);
            item->length = length;
            memset(item->data, (int)(r & 255), length);
            item->next = heads[slot];
            heads[slot] = item;
        } else if (heads[slot]) {
            Item *item = heads[slot];
            heads[slot] = item->next;
            check = mix(check, item->data[item->length - 1] + item->length);
            free(item);
        }
    }
    for (int i = 0; i < 64; i++)
        for (Item *next, *item = heads[i]; item; item = next) {
            next = item->next;
            check = mix(check, item->length);
            free(item);
        }
    return check;
}

int main(int argc, char **argv) {
    uint32_t rounds = work_arg(argc, argv, 300), seed = 777, check = 0;
    for (uint32_t r = 0; r < rounds; r++) {
        Node *root = NULL;
        for (int i = 0; i < 4000; i++)
            root = insert(root, next_random(&seed) >> 8, next_random(&seed) % 64);
        check = mix(check, sum_and_free(root));
        check = mix(check, lists(&seed));
    }
    printf("alloc %u rounds: %08x\n", rounds, check);
}
